import pytest

from instructlab_pipeline.sdg.language import language_of, script_of, scripts_in

SENTENCES = {
    "Dutch": "Wat is de naam van het grootste meer in het noorden van dat land, en hoe diep is het?",
    "English": "What is the name of the largest lake in the north of that country, and how deep is it?",
    "Finnish": "Mikä on sen järven nimi, joka on maan pohjoisessa, ja kuinka syvä se oli ennen kuin se kuivui?",
    "French": "Quel est le nom du plus grand lac dans le nord de ce pays, et quelle est la profondeur des eaux ?",
    "German": "Wie heißt der größte See, der im Norden des Landes liegt, und wie tief ist er in der Mitte?",
    "Italian": "Qual è il nome del lago più grande che si trova nel nord della regione, e come si chiama la città?",
    "Polish": "Jak się nazywa największe jezioro, które leży na północy kraju, i jaka jest jego głębokość?",
    "Spanish": "¿Cuál es el nombre del lago más grande que está en el norte del país y por qué es tan hondo?",
    "Swedish": "Vad är namnet på den största sjön som ligger i norr, och hur djup är den på det djupaste stället?",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_is_in_its_language_or_in_none_but_never_in_another(language):
    assert language_of(SENTENCES[language]) in (language, None)


def test_most_sentences_are_told():
    assert sum(language_of(text) == language for language, text in SENTENCES.items()) >= 7


@pytest.mark.parametrize(
    "text", ["the fingers", "Q4", "def area(r): return 3.14 * r ** 2", "apple, pear, plum, fig, kiwi, lime, date, nut"]
)
def test_what_is_too_short_or_no_prose_is_in_no_language(text):
    assert language_of(text) is None


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Saturn", "Latin"),
        ("Кольца Сатурна", "Cyrillic"),
        ("土星の環はどこまで広がっていますか", "East Asian"),
        ("토성의 고리는 얼마나 넓습니까", "East Asian"),
        ("حلقات زحل", "Arabic"),
        ("12:30", None),
        ("\u03b1 and \u03b2", None),
    ],
)
def test_a_script_is_that_of_most_letters(text, script):
    assert script_of(text) == script


def test_every_script_with_a_fair_share_is_wanted():
    assert scripts_in(["Translate into Russian: moon", "луна"]) == {"Latin", "Cyrillic"}
    assert scripts_in(["A long text about the ratio π of circles and of what they enclose"]) == {"Latin"}
    assert scripts_in(["12"]) == frozenset()
