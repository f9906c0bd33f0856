"""Locations: what is a URL, and what it says of itself."""

import pickle
from pathlib import Path

import pytest

from fc7.cache.urls import URL, locate
from fc7.errors import UsageError


@pytest.mark.parametrize("path", ["a/b", "/s3:/b", "c:/x", "data:/x", "s3", "zip://a::s3://b"])
def test_what_is_no_url_is_a_path(path):
    assert locate(path) == Path(path)
    assert not isinstance(locate(path), URL)


@pytest.mark.parametrize("named", ["s3://bucket/a/b.csv", "s3://bucket/a/b.csv/", Path("s3://bucket/a/b.csv")])
def test_a_url_is_one_however_it_is_named(named):
    url = locate(named)
    assert url == "s3://bucket/a/b.csv"
    assert (url.name, url.suffix, url.parent, url.parent.parent) == ("b.csv", ".csv", "s3://bucket/a", "s3://bucket")
    for same in (locate(url), pickle.loads(pickle.dumps(url))):
        assert isinstance(same, URL)
        assert same == url


def test_a_url_without_a_bucket_is_a_usage_error():
    with pytest.raises(UsageError, match="s3:// names no bucket or host"):
        locate("s3://")


def test_an_empty_text_is_not_the_working_directory():
    with pytest.raises(UsageError, match="An empty path"):
        locate("")
