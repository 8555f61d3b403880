"""One meter, one file. Each offers an opener: the text after the colon of `--meter NAME:TEXT` -> its meters."""
