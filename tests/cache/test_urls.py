from fc7.cache.urls import address


def test_what_is_no_url():
    assert [address(path) for path in ("a/b", "/s3:/b", "c:/x", "data:/x", "s3", "zip://a::s3://b")] == [""] * 6
