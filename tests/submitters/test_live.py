"""What each submitter sends, run by a real service: its files are where it looks for them."""

from __future__ import annotations

from tests.submitters.conftest import Site

CALL = "cromwell-executions/hello/8a1b2c3d-1111-4222-8333-444455556666/call-greet"


def test_a_call_of_cromwell_is_complete_though_declared_outputs_are_missing(site: Site) -> None:
    site.write(
        f"{CALL}/execution/script",
        f'cd /{CALL}/execution\necho "hello $(cat ../inputs/-1/name.txt)" > greeting.txt\necho 0 > rc\necho said\n',
    )
    task = site.run("cromwell")
    assert task["state"] == "COMPLETE", task["logs"]
    assert site.read(f"{CALL}/execution/greeting.txt") == "hello world\n"
    assert (site.read(f"{CALL}/execution/rc"), site.read(f"{CALL}/execution/stdout")) == ("0\n", "said\n")
    found = [file["path"].rsplit("/", 1)[1] for file in task["logs"][0]["outputs"]]
    assert sorted(found) == ["greeting.txt", "rc", "stderr", "stdout"]
    assert "backend_parameters" not in task["resources"]
    assert any("internal_path_prefix" in line for line in task["logs"][0]["system_logs"])


def test_what_globs_of_nextflow_match_is_in_its_work_directory(site: Site) -> None:
    work = "nf/ab/cdef01"
    site.write(f"{work}/.command.sh", "cat name.txt > one.bam; cp one.bam two.bam\n")
    site.write(
        f"{work}/.command.run",
        "cd /work; bash .command.sh > .command.out 2> .command.err; echo $? > .exitcode\n"
        "mkdir qc; echo q > qc/part1.txt; echo q > qc/other.txt; echo logged\n",
    )
    task = site.run("nextflow")
    assert task["state"] == "COMPLETE", task["logs"]
    assert site.read(f"{work}/one.bam") == site.read(f"{work}/two.bam") == "world\n"
    assert (site.read(f"{work}/.exitcode"), site.read(f"{work}/.command.log")) == ("0\n", "logged\n")
    assert [path.name for path in (site.root / work / "qc").iterdir()] == ["part1.txt"]


def test_the_script_of_snakemake_runs_where_it_lies(site: Site) -> None:
    task = site.run("snakemake")
    assert task["state"] == "COMPLETE", task["logs"]
    assert site.read("results/greeting.txt") == "hello world\n"


def test_inputs_of_cwl_tes_may_lie_in_the_directory_that_is_its_output(site: Site) -> None:
    task = site.run("cwl-tes")
    assert task["state"] == "COMPLETE", task["logs"]
    assert site.read("cwl-out/count.txt") == site.read("cwl-out/workdir/count.txt") == "world\n"
    assert site.read("cwl-out/workdir/made.txt") == "world\nworld\n"
    assert (site.root / "cwl-out/workdir/at-home").exists()
    assert site.read("data/name.txt") == "world\n"


def test_the_job_store_of_toil_is_written_while_the_task_runs(site: Site) -> None:
    info = site.service.get("/v1/tasks/service-info")
    assert f"file://{site.root}/jobstore" in info["storage"]
    sent, store = site.task("toil"), site.root / "jobstore"
    waits = f"cd {store}; echo begun > log; until [ -e go ]; do sleep 0.1; done; echo done >> log"
    sent["executors"][0]["command"][:1] = ["sh", "-c", waits, "_toil_contained_executor"]
    path = site.submitted("toil", sent)
    site.service.until(path, lambda task: task["state"] == "RUNNING" and (store / "log").exists())
    assert site.read("jobstore/log") == "begun\n"
    site.write("jobstore/go", "")
    task = site.service.ended(path)
    assert task["state"] == "COMPLETE", task["logs"]
    assert site.read("jobstore/log") == "begun\ndone\n"
    (step,) = task["logs"][0]["logs"]
    assert {"start_time", "end_time", "exit_code"} <= set(step)


def test_an_error_that_sprocket_ignores_is_a_complete_task_with_its_exit_code(site: Site) -> None:
    site.write(
        "inputs/0b5f/command",
        "cat ../inputs/0/name.txt > result.txt; touch /mnt/extra/x; echo said; echo so >&2; exit 3\n",
    )
    task = site.run("sprocket")
    assert task["state"] == "COMPLETE", task["logs"]
    assert [step["exit_code"] for step in task["logs"][0]["logs"]] == [3]
    assert (site.read("out/stdout"), site.read("out/stderr"), site.read("out/work/result.txt")) == (
        "said\n", "so\n", "world\n",
    )  # fmt: skip


def test_the_three_steps_of_pulsar_share_its_staging_directory(site: Site) -> None:
    task = site.run("pulsar")
    assert task["state"] == "COMPLETE", task["logs"]
    steps = task["logs"][0]["logs"]
    assert ([step["exit_code"] for step in steps], steps[2]["stdout"]) == ([0, 0, 0], "staged\n")
