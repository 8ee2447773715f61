"""URLs as values: what is a URL, and that no secret is written down."""

import pytest

from alignsd.base.errors import Problem
from alignsd.kit.provenance import own_inputs
from alignsd.kit.values.parameters import Parameter, checked
from alignsd.kit.values.urls import is_remote, is_url, local_path, without_secrets

SECRETS = {
    "s3://key:tulip@bucket/db": "s3://bucket/db",
    "https://tulip@host/db/": "https://host/db/",
    "https://host/db/?X-Amz-Signature=tulip": "https://host/db/",
    "https://host/db#tulip": "https://host/db",
    "simplecache::s3://key:tulip@bucket/db": "s3://bucket/db",
}


def test_which_values_are_urls():
    for value in ("s3://bucket/db", "hf://datasets/a/b@main/db", "memory://db", "file:///a b"):
        assert is_url(value)
    for value in ("data/diffusiondb", "miniature", "", "/a//b", "C:/data", "a::b", "~/x"):
        assert not is_url(value)
    assert not is_remote("file:///data") and is_remote("https://host/db/")
    assert str(local_path("file:///a%20b/c")) == "/a b/c"


@pytest.mark.parametrize("url", SECRETS)
def test_a_url_with_a_secret_is_refused_before_a_record_keeps_it(url):
    with pytest.raises(Problem, match="cannot be taken") as caught:
        checked(Parameter("parts", "miniature", "folder"), url, "--set")
    assert "tulip" not in str(caught.value) and SECRETS[url] in str(caught.value)


def test_a_plain_url_is_taken():
    parameter = Parameter("parts", "miniature", "folder")
    for url in ("s3://bucket/db", "hf://datasets/owner/name@0123abc/images", "https://host:80/db/"):
        assert checked(parameter, url, "--set") == url


def test_texts_lose_the_secrets_of_their_urls():
    text = "first https://a:b@host/x?sig=1 then 's3://k:s@bucket/y#z', at noon?"
    assert without_secrets(text) == "first https://host/x then 's3://bucket/y', at noon?"


def test_a_file_url_counts_as_its_folder_and_a_server_is_not_asked(tmp_path):
    (tmp_path / "part-000001.zip").write_bytes(b"zip")
    by_path = own_inputs({"parts": str(tmp_path)})
    assert own_inputs({"parts": tmp_path.as_uri()}) == by_path != {}
    assert own_inputs({"parts": "https://nowhere.invalid/db/"}) == {}
