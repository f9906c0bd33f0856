"""Twenty folders with a known truth: the headline says what was compared, who won and how sure that is."""

import re
from itertools import chain

import pytest
from html_page import Page
from report_folders import FOLDERS

from fc7.classify.commands.tables import data_sets, runs_table
from fc7.classify.records.contest import contest
from fc7.classify.records.description import labels
from fc7.classify.records.runs import by_images
from fc7.classify.reports.reading import reading
from fc7.classify.reports.report import report
from fc7.classify.reports.verdict import findings, verdict


@pytest.fixture(scope="module", params=FOLDERS)
def folder(request):
    return FOLDERS[request.param], FOLDERS[request.param].runs()


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    return report(folder[1], tmp_path_factory.mktemp("report") / "page.html").read_text(encoding="utf-8")


def test_the_verdict_finds_the_truth(folder):
    truth, runs = folder
    contests = [contest(members) for members in by_images(runs)]
    assert tuple(compared.question for compared in contests) == truth.question
    for compared, won, lost, tied in zip(contests, truth.won, truth.lost, truth.tied, strict=True):
        tests = compared.of(compared.question)

        def names(tests):
            return {name.removeprefix("vgg16 gap ") for name in (test.sides[1] for test in tests)}

        assert names(test for test in tests if test.won) == set(won)
        assert names(test for test in tests if test.lost) == set(lost)
        assert names(test for test in tests if not test.pair.clear) <= set(tied)


def test_the_headline_names_all_sides_and_the_images(folder):
    truth, runs = folder
    for members in by_images(runs):
        compared, said = contest(members), verdict(members)[0]
        tests = compared.of(compared.question)
        for test in tests:
            second = test.second.head if test.second.elsewhere or test.about == "heads" else test.sides[1]
            assert second in said or (test.second.trainable and "fine-tuning" in said.lower())
        assert str(members[0].metrics["n"]) in said
        assert ("beat" in said or "right than" in said or "right in all" in said) == any(
            test.pair.clear for test in tests
        )
        assert ("cannot be told apart" in said or "too few" in said) == any(not test.pair.clear for test in tests)
    assert all(words in " ".join(findings(runs)) for words in truth.words)


def test_one_family_of_comparisons_everywhere(folder, page):
    _, runs = folder
    sets = data_sets(runs)
    for members, entry in zip(by_images(runs), sets, strict=True):
        compared = contest(members)
        tests = compared.comparisons
        assert [test.to_dict() for test in tests] == entry["comparisons"]
        assert page.count("is better</td>") + page.count("gets more right</td>") == sum(
            test.pair.clear for test in chain(*(contest(group).comparisons for group in by_images(runs)))
        )
        for test in tests:
            low, high = test.pair.interval
            assert (low <= 0 <= high) == (not test.pair.clear)
    for sentence in findings(runs):
        assert sentence.partition(": ")[2] in runs_table(runs) or sentence in runs_table(runs)


def test_no_two_rows_have_one_name(folder):
    _, runs = folder
    for members in by_images(runs):
        assert len(set(labels(members).values())) == len(members)


def test_of_leaked_images_no_sentence_holds_for_new_ones(tmp_path):
    runs = FOLDERS["16 leakage allowed"].runs()
    said = " ".join([*findings(runs), *(words for _, words in reading([contest(runs)]))])
    assert "olds for new images like these" not in said
    assert "on new images like these." not in said
    assert "nothing of them holds for new images" in said
    page = report(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    for text in said, page:
        found = re.findall(r"clearly better|is better|beats|can be significant|were held out|[Tt]he held-out", text)
        assert found == []


def test_where_accuracy_and_balanced_accuracy_disagree_no_side_is_called_better(tmp_path):
    runs = FOLDERS["18 weights of classes"].runs()
    said = findings(runs)
    assert "misleads" not in said[0]
    page = Page(report(runs, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "the first gets more right" in page.text
    assert "fitted without class weights" not in page.text, "its label says it"


def test_links_are_named_as_the_headings_they_lead_to_and_come_in_their_order(page):
    headings = re.findall(r'<h2 id="([^"]+)-title([-\d]*)">([^<]+)</h2>', page)
    told = [(f"{name}{at}", text) for name, at, text in headings]
    for nav in re.findall(r'<nav aria-label="Sections[^>]*>(.*?)</nav>', page, re.S):
        links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', nav)
        assert links == [heading for heading in told if heading in links]
