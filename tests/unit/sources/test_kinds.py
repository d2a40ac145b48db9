"""What every form of a workflow_url is read as, and which of them are refused."""

from __future__ import annotations

import pytest

from wesgate.core.errors import InvalidRequest
from wesgate.core.spec import Store
from wesgate.settings import Sources
from wesgate.sources import allowed, kinds
from wesgate.sources.kinds import Attachment, Git, Object, Source, Trs, Web, Zip

STORES = (Store("s3://"), Store("https://blobs.example.org/wf/"))
SHA = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "https://github.com/o/r.git"
REGISTRY = "https://dockstore.org/api/ga4gh/trs/v2"
ENCODED = "%23workflow%2Fgithub.com%2Fo%2Fr"
TOOL = "#workflow/github.com/o/r"

FORMS: list[tuple[str, Source]] = [
    ("main.wdl", Attachment("main.wdl")),
    ("./sub/e f.wdl", Attachment("sub/e f.wdl")),
    ("wf.ZIP", Zip(Attachment("wf.ZIP"))),
    ("http://example.org/main.wdl?v=1", Web("http://example.org/main.wdl?v=1")),
    ("HTTPS://example.org/main.wdl", Web("https://example.org/main.wdl")),
    ("https://example.org/wf.zip?sig=x", Zip(Web("https://example.org/wf.zip?sig=x"))),
    ("https://h.org/a/b.git", Git("https://h.org/a/b.git")),
    ("https://h.org:8443/a/b.git@v1#wf/main.wdl", Git("https://h.org:8443/a/b.git", "v1", "wf/main.wdl")),
    ("https://h.org/b.git@feature/x#wf/", Git("https://h.org/b.git", "feature/x", "wf/")),
    ("https://h.org/b.git@pkg@1.0#a%20b.wdl", Git("https://h.org/b.git", "pkg@1.0", "a b.wdl")),
    ("https://h.org/b.git#main.wdl", Git("https://h.org/b.git", "HEAD", "main.wdl")),
    ("git+https://h.org/a/b@main#main.wdl", Git("https://h.org/a/b", "main", "main.wdl")),
    ("https://github.com/o/r", Git(REPOSITORY)),
    ("https://github.com/o/r.git", Git(REPOSITORY)),
    ("https://github.com/o/r/tree/main/wf/a", Git(REPOSITORY, "main", "wf/a/")),
    ("https://github.com/o/r/tree/v1", Git(REPOSITORY, "v1", "")),
    (f"https://github.com/o/r/blob/{SHA}/wf/main.wdl", Git(REPOSITORY, SHA, "wf/main.wdl")),
    ("https://github.com/o/r/blob/refs/heads/f/main.wdl", Git(REPOSITORY, "refs/heads/f", "main.wdl")),
    ("https://raw.githubusercontent.com/o/r/v1/wf/main.wdl", Git(REPOSITORY, "v1", "wf/main.wdl")),
    ("https://raw.githubusercontent.com/o/r/v1/m.wdl?token=x",
     Web("https://raw.githubusercontent.com/o/r/v1/m.wdl?token=x")),
    ("https://github.com/o/r/archive/refs/heads/main.zip", Zip(Web("https://github.com/o/r/archive/refs/heads/main.zip"))),
    (f"trs://dockstore.org/{ENCODED}/v1", Trs(REGISTRY, TOOL, "v1")),
    (f"trs://r.org:8443/{ENCODED}/v%2F1/wf/main.wdl",
     Trs("https://r.org:8443/ga4gh/trs/v2", TOOL, "v/1", "wf/main.wdl")),
    (f"{REGISTRY}/tools/{ENCODED}/versions/v1/PLAIN_WDL/descriptor/%2Fwf%2Fmain.wdl",
     Trs(REGISTRY, TOOL, "v1", "wf/main.wdl")),
    (f"{REGISTRY}/tools/{ENCODED}/versions/v1/WDL/descriptor", Trs(REGISTRY, TOOL, "v1")),
    ("s3://bucket/wf/main.wdl", Object("s3://bucket/wf/main.wdl")),
    ("s3://bucket/wf.zip", Zip(Object("s3://bucket/wf.zip"))),
    ("https://blobs.example.org/wf/main.wdl", Object("https://blobs.example.org/wf/main.wdl")),
]  # fmt: skip


@pytest.mark.parametrize(("url", "source"), FORMS, ids=[url for url, _ in FORMS])
def test_every_form_is_read_as_what_it_names(url: str, source: Source) -> None:
    assert kinds.read(url, STORES) == source


@pytest.mark.parametrize(
    "url",
    [
        "", "../main.wdl", "/etc/passwd", "a/../b", "--upload-pack=x/../y", "file:///etc/passwd", "gopher://h/x",
        "ftp://h/x", "data:text/plain,x", "gs://bucket/main.wdl", "az://c/x", "ext::sh -c id", "fd::17", "ssh://h/x.git",
        "git://h/x.git", "git+ssh://h/x", "git@github.com:o/r.git", "ssh://-oProxyCommand=x/y", "jar:http://h/x",
        "http://good@127.0.0.1/", "http://h\\@g/x", "http://h/a\tb", "http://h/a\r\nb",
        "http://\u2488com/x", "http://h\u3002org/x", "http:///x", "http://[", "http://h:x/", "http://h:99999/",
        "https://h/a/../b", "https://h/%2e%2e/b", "https://h/wf/./b", "git+https://h/", "git+https://h/a?x=1",
        "https://h/x.git@--upload-pack=x", "https://h/x.git@-x#a", "https://h/x.git@a..b", "https://h/x.git@a b",
        "https://h/x.git@a.lock", "https://h/x.git@@{-1}", "https://h/x.git@", "https://h/x.git@%0a", "https://h/x.git@:/a",
        "https://h/x.git#../a", "https://h/x.git#/etc/passwd", "https://h/x.git#a%00b", "https://h/x.git#a%2f..%2f..%2fb",
        "https://github.com/o/r/blob/-x/main.wdl", "trs://h", "trs://h/a", "trs://h//v", "trs://u@h/a/v",
    ],
    ids=repr,
)  # fmt: skip
def test_what_nothing_should_be_fetched_from_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="workflow_url") as refused:
        kinds.read(url, STORES[:1])
    assert len(str(refused.value)) < 200


def test_a_pinned_url_names_the_same_again() -> None:
    for repository in (REPOSITORY, "https://h.org/a/b", "https://h.org/.git"):
        given = Git(repository, "main", "wf/main.wdl")
        again = kinds.read(given.pinned(SHA, given.path))
        assert again == Git(given.repository, SHA, given.path)


LISTED = (
    "https://example.org/wf/",
    "https://github.com/o/r.git",
    "https://gitlab.example/lab",
    "trs://dockstore.org/",
    "s3://pub/",
)
DIGEST = "a" * 64


@pytest.mark.parametrize(
    "url",
    ["https://example.org/wf/a/main.wdl", "https://EXAMPLE.org/wf/a.zip", "https://github.com/o/r/blob/x/y.wdl",
     "git+https://github.com/o/r@main#a.wdl", "https://gitlab.example/lab/x.git@v1", f"trs://dockstore.org/{ENCODED}/v1",
     f"{REGISTRY}/tools/{ENCODED}/versions/v1", "s3://pub/main.wdl"],
)  # fmt: skip
def test_a_site_may_allow_by_url_and_repository(url: str) -> None:
    allowed.check(kinds.read(url, STORES), LISTED)
    allowed.check_digest(kinds.read(url, STORES), DIGEST, LISTED)


@pytest.mark.parametrize(
    "url",
    ["main.wdl", "https://example.org/wfx/main.wdl", "https://example.org/", "http://example.org/wf/main.wdl",
     "https://github.com/o/r2", "https://github.com/o", "https://gitlab.example.evil/lab/x.git", "trs://dockstore.org.x/a/v",
     "https://evil/ga4gh/trs/v2/tools/a/versions/v", "s3://public/main.wdl", "https://evil/https://example.org/wf/x.wdl"],
)  # fmt: skip
def test_what_is_not_on_the_list_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"sources\.allowed"):
        allowed.check(kinds.read(url, STORES), LISTED)


def test_an_attachment_is_allowed_by_its_digest_alone() -> None:
    source, listed = Attachment("main.wdl"), (*LISTED, f"sha256:{DIGEST}")
    allowed.check(source, listed)
    allowed.check_digest(source, DIGEST, listed)
    with pytest.raises(InvalidRequest, match=f"sha256:{'b' * 64}"):
        allowed.check_digest(source, "b" * 64, listed)


def test_where_there_is_no_list_all_is_allowed() -> None:
    allowed.check(Attachment("main.wdl"), ())
    allowed.check_digest(Attachment("main.wdl"), DIGEST, ())


@pytest.mark.parametrize("entry", ["github.com/o/r", "*", "", "sha256:abc", "https://a b", "file:///x"])
def test_a_list_that_could_mean_nothing_is_refused_at_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match="beginnings of http"):
        Sources(allowed=(entry,))
