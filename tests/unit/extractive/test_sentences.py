from instructlab_pipeline.sdg.extractive.sentences import sentences


def test_sentences_end_where_a_reader_ends_them():
    assert sentences("Tin melts. Does it? It does! Then cool.") == ["Tin melts.", "Does it?", "It does!", "Then cool."]


def test_a_sentence_may_run_over_lines():
    assert sentences("Tin melts\nat low heat.\nLead too.") == ["Tin melts at low heat.", "Lead too."]


def test_abbreviations_initials_and_decimals_end_nothing():
    text = "Dr. Smith met J. J. Thomson at 5.3 metres. St. Paul was near."
    assert sentences(text) == ["Dr. Smith met J. J. Thomson at 5.3 metres.", "St. Paul was near."]


def test_quotation_marks_belong_to_the_sentence_before():
    assert sentences('He said "no." Then he left.') == ['He said "no.', "Then he left."]


def test_what_is_not_prose_is_left_out():
    document = """---
title: Tin
---
# Heading

| a | b |
|---|---|
| Tin melts. | c |

```
Code is a table.
```

~~~text
More code.
~~~

<!-- A comment. -->
![A picture.](tin.png)

> A quotation.

Prose stays.
"""
    assert sentences(document) == ["Prose stays."]


def test_markup_goes_and_its_text_stays():
    text = "**Tin** is a [soft](https://example.org) *metal*, says `sn`.[1]"
    assert sentences(text) == ["Tin is a soft metal, says sn."]


def test_list_items_are_blocks_of_their_own():
    assert sentences("- Tin melts\n- Lead melts\n1. Iron too") == ["Tin melts", "Lead melts", "Iron too"]


def test_windows_line_ends_make_no_difference():
    assert sentences("Tin melts.\r\n\r\nLead too.\r\n") == ["Tin melts.", "Lead too."]


def test_nothing_comes_of_nothing():
    assert sentences("") == []
