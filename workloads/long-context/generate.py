"""Writes prompts.jsonl of this folder: long records with a fact or two to be found, the same bytes on every machine.

Four kinds of record, four questions each, every question at four depths. In a fragment `[40-60]` is a number drawn from
that range and `{rain|snow}` one of the words. `python generate.py` rewrites the file; `build()` returns its bytes. Only
`Random.random()` is drawn from, because it is the only method whose sequence Python keeps from version to version.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

SEED = 60_601
DEPTHS = (0.08, 0.35, 0.62, 0.92)
CLOSING = 'Answer from the record alone, in one sentence. Then write the result on the last line in the form "Answer: ...".'


@dataclass(frozen=True)
class Needle:
    """A fact to be found. The second sentence, if any, stands elsewhere and is needed as well; `@` is the answer."""

    facts: tuple[str, ...]
    question: str
    answers: tuple[str, str, str, str]


@dataclass(frozen=True)
class Kind:
    """One kind of record: heading of the whole, heading of the n-th entry, sentences of an entry, what is hidden."""

    name: str
    title: str
    entry: str
    first: int
    count: tuple[int, int]
    sentences: tuple[tuple[str, ...], ...]
    needles: tuple[Needle, ...]


class Dice:
    """Seeded choices made from `random()` alone."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def one(self, pool: Sequence[str]) -> str:
        """One member of `pool`."""
        return pool[int(self.rng.random() * len(pool))]

    def told(self, fragment: str) -> str:
        """A fragment with its numbers and words drawn."""
        text = re.sub(r"\{([^}]+)\}", lambda m: self.one(m[1].split("|")), fragment)
        return re.sub(r"\[(\d+)-(\d+)\]", lambda m: str(self.number(int(m[1]), int(m[2]))), text)


LOG = Kind(
    "log",
    "Log of the survey vessel {Petrel|Sandpiper|Dunlin|Curlew}, {spring|autumn} voyage",
    "Day {n}",
    1,
    (36, 44),
    (
        (
            "Wind {north|north-east|east|south|south-west|west} at [6-38] knots, {backing slowly|veering after noon|steady all day}.",
            "Almost calm until [8-11] o'clock, then a {light|fresh|gusty} breeze from the {north|south|west}.",
            "Barometer at [985-1031], {rising|falling|unchanged since yesterday}, the sky {clear|half covered|grey from edge to edge}.",
            "A long swell from the {west|north-west|south} in spite of the light wind.",
        ),
        (
            "We ran [3-9] lines with the echo sounder and covered [14-52] miles.",
            "Took [6-22] water samples between the surface and [80-400] metres.",
            "The coring tube came up with [1-4] metres of {grey mud|coarse sand|clay with shells}.",
            "Two buoys were recovered and one was laid out again, [2-11] miles further {north|south|east}.",
            "Stayed at anchor in [12-40] metres because the sonar needed {a new cable|calibration|a dry connector}.",
            "Towed the plankton net for [30-95] minutes at a depth of [10-70] metres.",
        ),
        (
            "In the galley the talk was of {the football results|a letter from home|the price of fish|an old ghost story}.",
            "The cook served {lentils|fish soup|pancakes|stew with dumplings|rice with beans}, and {nothing was left|half of it went back|there was a second helping for all}.",
            "The second engineer is teaching {chess|knots|Portuguese|the accordion} to anyone who comes by after {lunch|supper|the late watch}.",
            "Somebody has {repainted the mess door|hung a hammock on the after deck|started a jigsaw puzzle of a thousand pieces}.",
        ),
        (
            "Sighted {a pod of dolphins|a tanker on the horizon|three fishing boats|a drifting log|a lone gannet} at [6-19] hours.",
            "The main engine ran at [58-84] per cent, the oil pressure was {normal|a little low|normal after the filter was changed}.",
            "Fresh water for [9-28] days is left, and fuel for [8-25].",
            "The starboard {pump|searchlight|davit|radar} gave trouble again and was {repaired|switched off|taken apart and cleaned}.",
        ),
        (
            "Night watch without event.",
            "Fog banks during the night, the horn sounded for [2-6] hours.",
            "A clear night with many stars; the watch was {quiet|cold|livelier than usual}.",
            "The watch reported lights far to the {east|south|west}, which were gone by morning.",
        ),
    ),
    (
        Needle(
            ("The spare key of the instrument locker, missing since we left port, turned up @.",),
            "Where did the spare key of the instrument locker turn up?",
            ("in the flour bin", "inside a rubber boot", "under the chart table", "in the pocket of the pilot's coat"),
        ),
        Needle(
            ("The doctor had to treat the bosun, who was bitten by @ while he was emptying the net.",),
            "What animal bit the bosun?",
            ("an octopus", "a conger eel", "a crab", "a small shark"),
        ),
        Needle(
            ("From now on the captain allows music on the bridge, but only @.",),
            "What kind of music does the captain allow on the bridge?",
            ("string quartets", "sea shanties", "slow waltzes", "organ music"),
        ),
        Needle(
            (
                "The crew has christened the small winch on the foredeck Bertha, and the name is painted on it in white.",
                "Bertha broke a tooth of her gear and was made to work again with a part taken from the @.",
            ),
            "From what did the part come with which the small winch on the foredeck was repaired?",
            ("coffee grinder", "ship's bicycle", "sewing machine", "old gramophone"),
        ),
    ),
)

REGISTER = Kind(
    "register",
    "Register of the depot of the regional museum, section {C|D|F|K}",
    "Object {n}",
    201,
    (34, 42),
    (
        (
            "{Butter mould|Carpenter's plane|Milk can|Wall clock|Cradle|Spinning wheel|Tin toy|Storm lamp|Scythe|Coffee mill} of {beech|brass|pear wood|sheet iron|enamel}, {about|before|after} [1780-1935].",
            "{Door lock|Weather vane|Pair of skates|Sledge|Bread stamp|Beehive|Letter scale|Travelling chest|Tile|Sickle} of {oak|wrought iron|fired clay|straw|copper}, made in the {valley|harbour town|hill country} around [1760-1940].",
        ),
        (
            "Height [8-160], width [6-120], depth [4-80] centimetres.",
            "Weight [1-48] kilograms, largest dimension [12-190] centimetres.",
            "Consists of [2-9] parts, all of which are {present|numbered in pencil|wrapped separately}.",
        ),
        (
            "Given by the heirs of a {miller|schoolmaster|midwife|cooper|tinsmith|ferryman} in [1922-2015].",
            "Bought at the sale of a {farm|chandlery|rectory|tannery} for [4-95] in the money of the time.",
            "Found in the {attic|cellar|boathouse} of a house that was pulled down in [1951-2008].",
            "Handed over by the {railway|parish|fire brigade} without further papers in [1938-1999].",
        ),
        (
            "Condition {good|fair|poor}: {old traces of woodworm|slight rust at the edges|a crack that has been glued|paint worn by use|one handle replaced}.",
            "Cleaned in [1964-2019] with {a dry brush|distilled water|wax and a soft cloth}; no further treatment is needed.",
            "Should be looked at again within [2-9] years because of {moths|flaking paint|corrosion|loose joints}.",
        ),
        (
            "Kept on shelf [1-19], level [1-6], in a box of acid-free card.",
            "Kept on shelf [1-19], level [1-6], without a box, under a linen cover.",
            "Shown in [1958-2018] in the exhibition on {bread|winter|work at home|the river|measuring and weighing}.",
            "Photographed from [2-6] sides; the negatives carry the number [1000-9800].",
        ),
    ),
    (
        Needle(
            ("When the lining was loosened, a folded sheet came to light, on which there is a recipe for @.",),
            "For what was the recipe on the folded sheet that came to light behind a lining?",
            ("violet ink", "cough drops", "gunpowder", "ginger beer"),
        ),
        Needle(
            ("The signature of the maker was read under ultraviolet light and shows the figure of @.",),
            "Which figure does the signature show that was read under ultraviolet light?",
            ("a running hare", "three herrings", "a bell with wings", "a crowned snail"),
        ),
        Needle(
            ("A film company borrowed it and brought it back painted @, which could be removed only with great effort.",),
            "In which colour did a film company paint the object that it had borrowed?",
            ("turquoise", "salmon pink", "lemon yellow", "silver"),
        ),
        Needle(
            (
                "In the house this piece is known only as the sleeping dog.",
                "For reasons of safety the sleeping dog has been moved out of the depot and is now kept @.",
            ),
            "Where is the piece kept now that is known in the house as the sleeping dog?",
            ("in the director's office", "in the bank's vault", "in the room of the night guard", "in the church tower"),
        ),
    ),
)

WORKSHOP = Kind(
    "workshop",
    "Maintenance diary of the {paper mill|dairy|brickworks|spinning mill}",
    "Entry {n}",
    1,
    (36, 46),
    (
        (
            "{Pump|Fan|Conveyor|Compressor|Mixer|Gearbox} [1-28] inspected after [900-8600] hours of operation.",
            "{Pump|Fan|Conveyor|Compressor|Mixer|Gearbox} [1-28] stopped by itself at [5-22] o'clock and was found {warm|blocked|without oil|with a loose belt}.",
            "Planned service of {pump|fan|conveyor|compressor|mixer|gearbox} [1-28], brought forward by [2-12] days.",
        ),
        (
            "Bearing temperature [38-79] degrees, vibration [1-7] millimetres per second.",
            "Oil sample taken; the colour was {clear|amber|dark}, the smell {normal|slightly burnt|faintly of solvent}.",
            "Belt tension was [6-18] per cent {below|above} the value on the plate and has been corrected.",
            "The coupling was out of line by [1-9] tenths of a millimetre.",
        ),
        (
            "Replaced: {two bearings|one shaft seal|the filter|four bolts|the belt|a contactor}, from stock, shelf [1-40].",
            "Nothing had to be replaced; {cleaned and greased|tightened and marked with paint|blown out with air}.",
            "A part with a delivery time of [2-9] weeks was ordered; until then the machine runs at [50-85] per cent.",
            "The old {seal|bearing|belt} was kept for the training of the apprentices.",
        ),
        (
            "The work took [20-190] minutes, [1-3] people.",
            "Production lost [0-75] minutes, which the {night|late|weekend} shift made up for.",
            "The work was done during the break, without loss of production.",
        ),
        (
            "Next inspection in [4-26] weeks.",
            "Remark of the shift: {quieter than before|still a faint whistle|no complaints|smells of warm dust when it starts}.",
            "The drawing in the folder does not agree with the machine; sheet [2-48] has been corrected by hand.",
            "Tools counted before closing: {complete|complete|one spanner found in the oil pan}.",
        ),
    ),
    (
        Needle(
            ("The strange knocking that visitors had heard for weeks came from @ in the air duct.",),
            "What caused the strange knocking that visitors had heard for weeks?",
            ("a tennis ball", "a wooden spoon", "a lost thermos flask", "a child's shoe"),
        ),
        Needle(
            ("The password of the old control panel was written @, where it has now been removed.",),
            "Where was the password of the old control panel written?",
            ("on the back of the clock", "inside the fuse box", "under the telephone", "on the rim of the fire bucket"),
        ),
        Needle(
            ("An insurance inspector was present and had one demand: the emergency stop has to be painted again in @.",),
            "In which colour does the emergency stop have to be painted, as the insurance inspector demanded?",
            ("signal red", "traffic yellow", "luminous orange", "deep blue"),
        ),
        Needle(
            (
                "The apprentices have named the machine that hums in two voices the Choir, and even the foreman calls it so.",
                "The supplier recalled a part of the Choir; the recall letter gives the reason as @.",
            ),
            "What reason does the recall letter give for the part of the machine that hums in two voices?",
            ("a wrong alloy", "a mixed-up drawing", "a thread cut the wrong way", "too little hardening"),
        ),
    ),
)

CHRONICLE = Kind(
    "chronicle",
    "Chronicle of the parish of {Oberau|Stillwater|Long Marsh|Eschen|Three Mills}",
    "Year {n}",
    1803,
    (38, 46),
    (
        (
            "The winter was {mild|hard|late|long and wet}, and the {brook|mill pond|lower road} was {frozen|flooded|passable} until {February|March|April}.",
            "Snow lay for [20-110] days, and the post came [2-9] times late.",
            "Frost in {May|April} spoiled the blossom of the {apples|cherries|plums}.",
            "A dry spring; the well at the {inn|church|upper farm} had to be deepened by [2-7] feet.",
        ),
        (
            "The harvest of {rye|oats|barley|hay|potatoes} was {poor|middling|good|the best for [5-20] years}.",
            "A bushel of {rye|oats|wheat} was sold at [3-14] shillings at the {Michaelmas|Easter|Whitsun} market.",
            "Of [40-190] head of cattle, [2-15] were lost to {the murrain|foul water|a fall from the quarry edge}.",
            "Wine was attempted on the south slope, with [1-6] barrels as the result.",
        ),
        (
            "In the parish there were [8-34] births, [5-29] deaths and [2-11] weddings.",
            "The school had [21-74] pupils and {one teacher|one teacher and a helper|no teacher from Easter on}.",
            "[3-22] people left for {the coast|the city|overseas}, and [1-9] came to stay.",
        ),
        (
            "The {bridge|church roof|school stove|parish road|mill wheel} was repaired at a cost of [6-88] shillings.",
            "A {smithy|second inn|drying loft|weighing house|footbridge} was opened near the {green|ford|old lime tree}.",
            "The bell rang for {a fire at the tile yard|the visit of the bishop|a lost child, who was found asleep in the hay|the end of the war}.",
            "A dispute about the {boundary stones|water rights|pasture|pew order} was settled after [2-13] years.",
        ),
        (
            "A travelling {clockmaker|bear leader|tooth puller|painter|balloonist} stayed for [2-12] days.",
            "At the fair there was {dancing until dawn|a wrestling match|a two-headed calf, said to be stuffed|too much beer}.",
            "Nothing else of note.",
            "The chronicler himself was ill for [2-10] weeks, and a neighbour held the pen.",
        ),
    ),
    (
        Needle(
            ("Under the threshold of the chapel the masons came upon a jar with forty coins and @.",),
            "What was in the jar under the threshold of the chapel, apart from forty coins?",
            ("a silver thimble", "a wolf's tooth", "a bone flute", "a ring of glass"),
        ),
        Needle(
            ("The parish lent the great ladder to the neighbouring village and received @ as a pledge.",),
            "What did the parish receive as a pledge for the great ladder?",
            ("a brass drum", "two geese", "the mayor's hat", "a barrel of salt"),
        ),
        Needle(
            ("By order of the council nobody may keep @ within the walls any longer.",),
            "What may nobody keep within the walls any longer, by order of the council?",
            ("peacocks", "more than three goats", "beehives", "a tame fox"),
        ),
        Needle(
            (
                "The house by the ford was bought by a stranger, whom everybody calls the Admiral although he has never seen the sea.",
                "The Admiral left the whole of his property to @.",
            ),
            "To whom did the stranger who had bought the house by the ford leave his property?",
            ("the school", "his washerwoman", "the ferryman's daughter", "the choir"),
        ),
    ),
)

KINDS = (LOG, REGISTER, WORKSHOP, CHRONICLE)


def record(kind: Kind, needle: Needle, answer: str, depth: float, dice: Dice) -> str:
    """The whole record with the facts in it: the last one at `depth` (0..1), an earlier one a good way before or after."""
    count = dice.number(*kind.count)
    entries = [[dice.told(dice.one(pool)) for pool in kind.sentences] for _ in range(count)]
    place = int(depth * count)
    places = [place] if len(needle.facts) == 1 else [(place + count // 2) % count, place]
    for at, fact in zip(sorted(places), needle.facts, strict=True):
        entries[at].insert(dice.number(1, len(entries[at])), fact.replace("@", answer))
    blocks = [f"{kind.entry.format(n=kind.first + i)}. {' '.join(entry)}" for i, entry in enumerate(entries)]
    return "\n\n".join([dice.told(kind.title), *blocks])


def build() -> bytes:
    """prompts.jsonl: each kind, each needle, each depth, with another answer at each depth."""
    dice, lines = Dice(SEED), []
    for d, depth in enumerate(DEPTHS):
        for n in range(4):
            for k, kind in enumerate(KINDS):
                needle = kind.needles[n]
                answer = needle.answers[(d + n + k) % 4]
                content = f"{record(kind, needle, answer, depth, dice)}\n\nQuestion: {needle.question} {CLOSING}"
                prompt = {"id": f"long-{kind.name}-{n + 1}-at-{round(depth * 100):02d}"}
                prompt |= {"messages": [{"role": "user", "content": content}], "answer": answer}
                lines.append(json.dumps(prompt, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


if __name__ == "__main__":
    Path(__file__).with_name("prompts.jsonl").write_bytes(build())
