"""The model: fetched (`pull`), read (`load`), run (`layers`), checked (`dense`), written for others (`export`)."""
