"""The examples, run by the `wesgate` command on a service of its own, with real files and programs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import missing
from tests.e2e.service import gone, postgres
from tests.podman import podman_environment

EXAMPLES = Path(__file__).parents[2] / "examples"
WESGATE = Path(sys.executable).with_name("wesgate")
SVG = "{http://www.w3.org/2000/svg}"


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """A service on a free port that may read below `folder`; the environment in which `wesgate` finds it."""
    environment = os.environ | settings | {"WESGATE_FILES__ALLOWED": json.dumps([str(folder)])}
    command = [str(WESGATE), "serve", "--data", str(folder / "data"), "--port", "0"]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    assert process.stdout is not None
    with process, process.stdout:
        try:
            lines = iter(process.stdout.readline, "")
            url = next((ready.group(1) for line in lines if (ready := re.search(r"ready: (http\S+)", line))), "")
            assert url, (folder / "serve.log").read_text()
            yield environment | {"WESGATE_URL": url}
        finally:
            process.terminate()
            process.stdout.read()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, WESGATE_EXECUTORS__LOCAL__RUNTIME="process") as environment:
        yield environment | {"HERE": str(folder)}


def outputs(environment: Mapping[str, str], *words: str) -> dict[str, object]:
    """The outputs of a run that ended well."""
    ended = subprocess.run(
        [WESGATE, "run", *words, "--wait", "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)["outputs"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("attach", [[], ["--attach", "reads.txt"]])
def test_md5sum_is_that_of_the_file(service: dict[str, str], attach: list[str]) -> None:
    file = Path(service["HERE"]) / "reads.txt"
    file.write_bytes(b"ACGT\n" * 1000)
    named = [str(file) if word == file.name else word for word in attach]
    found = outputs(service, str(EXAMPLES / "md5sum" / "md5sum.wdl"), f"file={file}", *named)
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    assert found["md5sum.digest"] == digest
    assert Path(str(found["md5sum.report"])).read_text() == digest + "\n"


def test_read_quality_plots_every_position(service: dict[str, str]) -> None:
    reads = Path(service["HERE"]) / "reads.fastq"
    with reads.open("wb") as file:
        subprocess.run([EXAMPLES / "read-quality" / "make-reads.sh", "1000"], stdout=file, check=True)
    workflow = str(EXAMPLES / "read-quality" / "read-quality.wdl")
    found = outputs(service, workflow, f"reads={reads}", "shard_reads=300", "title=A & <B>")
    assert found["read_quality.reads_seen"] == 1000
    assert found["read_quality.mean_quality"] == mean_quality(reads)
    svg = ElementTree.parse(str(found["read_quality.svg"]))
    assert len(svg.findall(f"{SVG}circle")) == 101
    assert svg.findtext(f"{SVG}text") == "A & <B>"


def mean_quality(reads: Path) -> float:
    """The mean of all quality scores, counted in another way than the workflow's."""
    scores = [letter - 33 for line in reads.read_bytes().splitlines()[3::4] for letter in line]
    return round(sum(scores) / len(scores), 2)


def test_the_demo_shows_what_came_out_and_leaves_nothing_running(tmp_path: Path) -> None:
    environment = os.environ | {"WESGATE": str(WESGATE), "TMPDIR": str(tmp_path)}
    ended = subprocess.run([EXAMPLES / "demo.sh"], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    plot = re.search(r"file://(\S+)", ended.stdout)
    assert plot is not None
    assert Path(plot.group(1)).is_file()
    assert "ended COMPLETE" in ended.stdout
    assert ended.stdout.endswith("the demo is done\n")
    (data,) = tmp_path.glob("wesgate-demo.*")
    assert (gone(data), postgres(data)) == ([], [])


@pytest.fixture
def podman(tmp_path: Path) -> dict[str, str]:
    """An environment in which podman works, on a machine that has the reads."""
    if not Path("/usr/share/doc/bowtie2/examples/reads").is_dir():
        missing("the Debian package bowtie2-examples")
    return podman_environment(tmp_path)


@pytest.mark.timeout(600)
def test_lambda_variants_are_those_expected(podman: dict[str, str], tmp_path: Path) -> None:
    folder = EXAMPLES / "lambda-variants"
    subprocess.run([folder / "build-image.sh"], env=podman, check=True, stdout=subprocess.DEVNULL)
    with serving(
        tmp_path, WESGATE_EXECUTORS__LOCAL__RUNTIME="podman", CONTAINERS_CONF=podman["CONTAINERS_CONF"]
    ) as environment:
        ended = subprocess.run(
            [folder / "run.sh", str(tmp_path / "lambda")],
            env=environment | {"WESGATE": str(WESGATE)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all 79 expected variants were called" in ended.stdout
