"""Which script and which language a text is in, as far as that can be told for certain.

Scripts come from the names of Unicode's letters. Within the Latin script, languages are told by their commonest small
words: a text is in a language when many of its words are that language's and few are another's. Short texts, names,
lists and code are in no language at all, and so are never held against anybody. A trained classifier would need 90 MB
and guesses where this one is silent (docs/decisions/0015-the-language-filter.md).
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

FEWEST_LETTERS = 6  # fewer say nothing about a script
FEWEST_WORDS = 8  # fewer say nothing about a language
FEWEST_SMALL_WORDS = 3  # different ones: a variable's name that comes again and again is no language
SMALL_WORDS_SHARE = 0.2  # of a text's words, from which on it is in a language: prose has 0.3 to 0.5
LEAD = 1.5  # times as many small words as of any other language
_LATIN = "Latin"
_ASCII_LETTERS = string.ascii_letters.encode()
_EAST_ASIAN = {"CJK": "East Asian", "HIRAGANA": "East Asian", "KATAKANA": "East Asian", "HANGUL": "East Asian"}
_WORD = re.compile(r"[^\W\d_]+")
_SMALL_WORDS = {
    "Czech": "a je se na v že s z do o to si by pro jsou který která které jako ale od po při nebo byl",
    "Danish or Norwegian": "og er det en at på som for med av af den til har de ikke der et var fra kan om hva hvad",
    "Dutch": "de het een van en in is dat op te voor met zijn niet aan er wat hoe door naar ook als bij wordt",
    "English": "the of and to a in is that it for as was with be on by which what how are this from or an has",
    "Finnish": "ja on ei se että oli ovat mikä joka hän kuin mutta myös sen kun niin tai vain jos mitä ole",
    "French": "le la les de des et un une est que dans qui pour du en au sur par il plus quel quelle ce pas avec",
    "German": "der die das und ist ein eine in den von zu mit des auf für nicht dem im sich als auch wie was aus",
    "Hungarian": "a az és hogy nem egy van is ez volt mi milyen meg csak ki vagy mint de azt hol mely amely",
    "Indonesian": "yang dan di dari untuk dengan ini itu pada adalah dalam tidak apa oleh sebagai ke akan atau juga",
    "Italian": "il la di che e un una è in per del della con non le i si da al come quale sono gli dei nel",
    "Polish": "i w na z że się jest do nie to o jak co po od dla który która przez są oraz czy ale tym być",
    "Portuguese": "o a de que e do da em um uma para com não os as no na por é qual dos das como ao se foi",
    "Romanian": "și de la în a este un o cu care pe din nu pentru sunt ce mai se au prin sau fost al ale",
    "Spanish": "el la de que y en un una los las del por con es para se no su al lo como qué cuál más fue",
    "Swedish": "och är det en att på som för med av den till har de inte ett var från kan om vad hur också",
    "Turkish": "ve bir bu için ile ne da de olan olarak mi çok daha gibi en kadar var hangi değil ise",
    "Vietnamese": "là của và các có được trong cho không một với những này đã từ khi để theo ở như gì",
}
_LANGUAGES_OF: dict[str, list[str]] = {}  # by small word
for _name, _words in _SMALL_WORDS.items():
    for _word in frozenset(_words.split()):
        _LANGUAGES_OF.setdefault(_word, []).append(_name)


def script_of(text: str) -> str | None:
    """The script of most of a text's letters: Latin, Cyrillic, Greek, Arabic, East Asian ...; None for too few."""
    if text.isascii():
        return _LATIN if _ascii_letters(text) >= FEWEST_LETTERS else None
    letters = _letters([text])
    if letters.total() < FEWEST_LETTERS:
        return None
    return letters.most_common(1)[0][0]


def scripts_in(texts: Iterable[str], *, least: float = 0.05) -> frozenset[str]:
    """Every script that has at least this share of all letters."""
    letters = _letters(texts)
    return frozenset(name for name, count in letters.items() if count >= least * letters.total())


def language_of(text: str) -> str | None:
    """The language of a text in the Latin script, where there is no doubt about it."""
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < FEWEST_WORDS:
        return None
    counts = Counter(name for word in words for name in _LANGUAGES_OF.get(word, ()))
    (first, most), (_, next_most) = [*counts.most_common(2), ("", 0), ("", 0)][:2]
    if most < SMALL_WORDS_SHARE * len(words) or most < LEAD * next_most:
        return None
    different = {word for word in words if first in _LANGUAGES_OF.get(word, ())}
    return first if len(different) >= FEWEST_SMALL_WORDS else None


def _ascii_letters(text: str) -> int:
    return len(text) - len(text.encode().translate(None, _ASCII_LETTERS))


def _letters(texts: Iterable[str]) -> Counter[str]:
    """How many letters of each script; a character is looked up once however often it occurs."""
    letters: Counter[str] = Counter()
    for text in texts:
        for character, count in Counter(text).items():
            if character.isalpha():
                letters[_script(character)] += count
    return letters


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    name = unicodedata.name(character, "UNKNOWN").split()[0]
    return _EAST_ASIAN.get(name, name.capitalize())
