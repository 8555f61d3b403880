"""The words that items are made of: this project's own lists. First names stand for nobody."""

NAMES = (
    "Ada", "Bruno", "Chiara", "Deniz", "Emil", "Farah", "Goran", "Hanna", "Ivo", "Jonna", "Kofi", "Lena", "Mira",
    "Nils", "Olga", "Pavel", "Rosa", "Sami", "Tilda", "Umar", "Vera", "Yusuf", "Zoe",
)  # fmt: skip
CITIES = (
    "Lyon", "Turin", "Porto", "Ghent", "Oslo", "Krakow", "Malmo", "Bilbao", "Graz", "Tartu", "Cork", "Leeds",
    "Basel", "Varna", "Split", "Brno",
)  # fmt: skip
JOBS = (
    "baker", "nurse", "pilot", "carpenter", "gardener", "teacher", "plumber", "painter", "librarian", "welder",
    "tailor", "chemist",
)  # fmt: skip
THINGS = (
    "lamp", "kettle", "ladder", "basket", "blanket", "hammer", "bottle", "mirror", "candle", "pillow", "bucket",
    "drum", "clock", "carpet", "wagon", "helmet",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "purple", "orange", "grey")
FRUITS = ("apples", "pears", "plums", "lemons", "figs", "melons", "cherries", "peaches", "grapes", "dates")
ANIMALS = ("otter", "heron", "badger", "hare", "magpie", "lynx", "toad", "weasel", "falcon", "hedgehog")
PLACES = ("harbour", "orchard", "library", "station", "market", "quarry", "chapel", "bridge", "workshop", "mill")
DOORS = ("cellar", "attic", "boathouse", "garage", "greenhouse", "pantry", "stable", "tower", "office", "archive")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
VERBS = ("carried", "painted", "found", "sold", "repaired", "borrowed", "washed", "hid")
