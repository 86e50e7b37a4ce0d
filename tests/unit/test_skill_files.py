"""Collecting, publishing, taking back and packing files."""

import os
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from orchestration.skills.builtin.files import confined
from orchestration.skills.domain.outcome import CallFailed, Failed, Succeeded
from tests.skill_calls import Bench, as_file


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    root, published = tmp_path / "root", tmp_path / "published"
    root.mkdir()
    published.mkdir()
    config = {"roots": [str(root)], "publish_root": str(published)}
    return Bench(tmp_path / "calls", config)


@pytest.fixture
def root(bench: Bench) -> Path:
    path = Path(bench.config["roots"][0])
    for name in (
        "sales-1.csv",
        "sales-2.csv",
        "notes.txt",
        "deep/er/sales-3.csv",
        ".hidden.csv",
    ):
        path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        path.joinpath(name).write_text(name)
    return path


@pytest.fixture
def published(bench: Bench) -> Path:
    return Path(bench.config["publish_root"])


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("sales-*.csv", ["sales-1.csv", "sales-2.csv"]),
        ("sales-?.csv", ["sales-1.csv", "sales-2.csv"]),
        ("sales-[2].csv", ["sales-2.csv"]),
        ("**/*.csv", ["sales-1.csv", "sales-2.csv", "sales-3.csv"]),
        ("**/**/*.csv", ["sales-1.csv", "sales-2.csv", "sales-3.csv"]),
        ("**", ["notes.txt", "sales-1.csv", "sales-2.csv", "sales-3.csv"]),
        ("deep/*/sales-3.csv", ["sales-3.csv"]),
        (".hidden.csv", [".hidden.csv"]),
    ],
)
def test_collect_takes_what_matches_in_order(bench, root, pattern, names):
    outcome = bench.good("files.collect", {"pattern": pattern})

    assert outcome.output["names"] == names
    assert outcome.output["count"] == len(names)
    texts = [path.read_text().rpartition("/")[2] for path in outcome.files["collected"]]
    assert texts == names


@pytest.mark.parametrize(
    "pattern",
    [
        "../*", "/etc/passwd", "deep/../../x", "deep/..", "..", "a\\..\\b", "a\0b", "a\nb",
        "./..", "x/" * 41 + "y",
    ],
)  # fmt: skip
def test_a_pattern_that_leaves_the_root_is_refused(bench, root, pattern):
    assert bench.code("files.collect", {"pattern": pattern}) == "files.path"


def test_a_link_in_the_root_is_neither_read_nor_followed(bench, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.joinpath("secret.csv").write_text("secret")
    root.joinpath("way").symlink_to(outside)
    root.joinpath("link.csv").symlink_to(outside / "secret.csv")

    assert bench.code("files.collect", {"pattern": "link.csv"}) == "files.not_plain"
    assert (
        bench.code("files.collect", {"pattern": "way/secret.csv"})
        == "files.nothing_matches"
    )
    assert (
        bench.good("files.collect", {"pattern": "deep/**/*.csv"}).output["count"] == 1
    )


def test_a_file_with_a_second_name_is_refused(bench, root, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("secret")
    root.joinpath("innocent.csv").hardlink_to(secret)

    assert bench.code("files.collect", {"pattern": "innocent.csv"}) == "files.hard_link"


def test_a_pipe_is_refused_instead_of_waited_for(bench, root):
    os.mkfifo(root / "pipe.csv")

    assert bench.code("files.collect", {"pattern": "pipe.csv"}) == "files.not_plain"


def test_a_folder_swapped_for_a_link_between_look_and_use_leads_nowhere(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.joinpath("sales-3.csv").write_text("secret")
    with confined.opened_root(root) as top:
        (found,) = confined.matching(top, ("deep", "er", "sales-3.csv"))
        root.joinpath("deep/er/sales-3.csv").unlink()
        root.joinpath("deep/er").rmdir()
        root.joinpath("deep/er").symlink_to(outside)

        with pytest.raises(CallFailed), confined.opened_file(top, found.parts):
            pass


def test_files_of_one_name_from_two_folders_are_both_kept(bench, root):
    root.joinpath("deep/sales-1.csv").write_text("another")

    outcome = bench.good("files.collect", {"pattern": "**/sales-1.csv"})

    assert [item["path"] for item in outcome.output["files"]] == [
        "sales-1.csv",
        "deep/sales-1.csv",
    ]
    assert [path.read_text() for path in outcome.files["collected"]] == [
        "sales-1.csv",
        "another",
    ]


def test_nothing_found_is_a_failure_unless_the_plan_says_otherwise(bench, root):
    assert bench.code("files.collect", {"pattern": "*.pdf"}) == "files.nothing_matches"
    assert bench.check("files.collect", {"pattern": "*.pdf"}) == [
        "files.nothing_matches"
    ]
    empty = bench.good("files.collect", {"pattern": "*.pdf", "allow_empty": True})
    assert empty.output["count"] == 0


@pytest.mark.parametrize(
    ("limit", "code"),
    [({"max_files": 1}, "files.too_many"), ({"max_bytes": 9}, "files.too_large")],
)
def test_more_than_the_limit_is_refused_before_a_byte_is_copied(
    bench, root, limit, code
):
    bench.config |= limit

    outcome = bench.run("files.collect", {"pattern": "*.csv"})

    assert isinstance(outcome, Failed)
    assert outcome.code == code


@pytest.mark.parametrize(
    "config", [{}, {"roots": []}, {"roots": ["/nonexistent-folder"]}]
)
def test_no_root_is_said(bench, config):
    bench.config = config

    assert bench.code("files.collect", {"pattern": "*"}) == "files.no_root"


def test_the_dry_run_of_collect_lists_and_copies_nothing(bench, root):
    preview = bench.dry_run("files.collect", {"pattern": "sales-*.csv"})

    assert preview.changes == ("reads sales-1.csv", "reads sales-2.csv")
    assert list(bench.folder.rglob("collected")) == []
    assert preview.summary.startswith("Copies 2 files with ")
    one = bench.dry_run("files.collect", {"pattern": "sales-1.csv"})
    assert one.summary.startswith("Copies 1 file with ")


def publish(bench: Bench, tmp_path: Path, text: str, key: str, **params: object):
    file = as_file(tmp_path / "report.html", text)
    return bench.run(
        "files.publish", {"file": file, "to": "monthly/", **params}, key=key
    )


def test_publish_puts_the_file_there_and_unpublish_takes_it_back(
    bench, published, tmp_path
):
    outcome = publish(bench, tmp_path, "one", "a")

    assert isinstance(outcome, Succeeded)
    assert outcome.output["path"] == "monthly/report.html"
    assert published.joinpath("monthly/report.html").read_text() == "one"
    undone = bench.good("files.unpublish", {"path": outcome.output["path"]})
    assert undone.output["removed"]
    assert not published.joinpath("monthly/report.html").exists()
    assert [*published.joinpath(".execfabric").iterdir()] == []


def test_publishing_twice_for_one_step_run_is_publishing_once(
    bench, published, tmp_path
):
    first = publish(bench, tmp_path, "one", "a")
    before = published.joinpath("monthly/report.html").stat()

    again = publish(bench, tmp_path, "one", "a")

    assert again == first
    assert published.joinpath("monthly/report.html").stat().st_ino == before.st_ino


def test_what_stands_there_is_not_replaced_unless_asked(bench, published, tmp_path):
    published.joinpath("monthly").mkdir()
    published.joinpath("monthly/report.html").write_text("by hand")

    outcome = publish(bench, tmp_path, "one", "a")

    assert isinstance(outcome, Failed)
    assert outcome.code == "files.exists"
    assert published.joinpath("monthly/report.html").read_text() == "by hand"


def test_replaced_content_comes_back_layer_by_layer(bench, published, tmp_path):
    page = published / "monthly/report.html"
    page.parent.mkdir()
    page.write_text("by hand")
    path = {"path": "monthly/report.html"}
    publish(bench, tmp_path, "one", "a", overwrite=True)
    publish(bench, tmp_path, "two", "b", overwrite=True)
    publish(bench, tmp_path, "two", "b", overwrite=True)

    seen = [page.read_text()]
    for _ in range(2):
        bench.good("files.unpublish", path)
        seen.append(page.read_text())

    assert seen == ["two", "one", "by hand"]
    assert bench.code("files.unpublish", path) == "files.not_published"


def test_unpublish_leaves_what_was_changed_since(bench, published, tmp_path):
    publish(bench, tmp_path, "one", "a")
    published.joinpath("monthly/report.html").write_text("edited by hand")

    assert (
        bench.code("files.unpublish", {"path": "monthly/report.html"})
        == "files.changed"
    )
    assert published.joinpath("monthly/report.html").read_text() == "edited by hand"


def test_unpublish_of_another_content_than_expected_is_refused(
    bench, published, tmp_path
):
    publish(bench, tmp_path, "one", "a")
    params = {"path": "monthly/report.html", "sha256": "0" * 64}

    assert bench.code("files.unpublish", params) == "files.changed"


def test_unpublish_of_what_is_gone_already_is_no_failure(bench, published):
    outcome = bench.good("files.unpublish", {"path": "monthly/report.html"})

    assert outcome.output["removed"] is False


@pytest.mark.parametrize(
    "to", ["../", "/etc/", "a/../../", "x\\y", ".execfabric/", "a\0/"]
)
def test_nothing_is_published_outside_the_root_or_into_the_ledger(
    bench, published, tmp_path, to
):
    file = as_file(tmp_path / "report.html", "one")

    assert bench.code("files.publish", {"file": file, "to": to}) == "files.path"


def test_a_link_below_the_publish_root_is_not_followed(bench, published, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    published.joinpath("monthly").symlink_to(outside)

    outcome = publish(bench, tmp_path, "one", "a")

    assert isinstance(outcome, Failed)
    assert [*outside.iterdir()] == []


def test_of_two_publishing_at_once_one_wins_and_the_other_is_told(
    bench, published, tmp_path
):
    outcomes = []

    def run(number: int) -> None:
        file = as_file(tmp_path / f"{number}.html", f"page {number}")
        params = {"file": file, "to": "same.html"}
        outcomes.append(bench.run("files.publish", params, key=f"key {number}"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    won = [outcome for outcome in outcomes if isinstance(outcome, Succeeded)]
    assert len(won) == 1
    assert {o.code for o in outcomes if isinstance(o, Failed)} == {"files.exists"}


def test_a_file_with_other_content_than_approved_is_not_published(
    bench, published, tmp_path
):
    file = as_file(tmp_path / "report.txt", "approved")
    file.path.write_text("tampered")

    outcome = bench.run("files.publish", {"file": file, "to": "report.txt"})

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.before_effect) == ("files.effect_differs", True)
    assert [path.name for path in published.iterdir()] == [".execfabric"]


def test_taking_back_says_when_the_former_content_is_lost(bench, published, tmp_path):
    first = as_file(tmp_path / "first.txt", "first")
    second = as_file(tmp_path / "second.txt", "second")
    bench.good("files.publish", {"file": first, "to": "x"})
    bench.good("files.publish", {"file": second, "to": "x", "overwrite": True})
    published.joinpath(".execfabric", first.sha256).unlink()

    outcome = bench.run("files.unpublish", {"path": "x"})

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.before_effect) == ("files.effect_differs", False)


def test_a_configured_folder_that_is_missing_is_named_without_its_place(
    bench, tmp_path
):
    bench.config["publish_root"] = str(tmp_path / "away" / "site")
    file = as_file(tmp_path / "report.txt", "x")

    outcome = bench.run("files.publish", {"file": file, "to": "x"})

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.before_effect) == ("files.no_root", True)
    assert "'site'" in outcome.message
    assert str(tmp_path) not in outcome.message


def test_the_dry_run_of_publish_says_what_it_would_meet(bench, published, tmp_path):
    file = as_file(tmp_path / "report.html", "one")
    params = {"file": file, "to": "monthly/"}

    before = bench.dry_run("files.publish", params)
    publish(bench, tmp_path, "one", "a")
    after = bench.dry_run("files.publish", params)
    over = bench.dry_run("files.publish", {**params, "overwrite": True})

    assert "creates monthly/report.html" in before.changes[0]
    assert "already exists" in after.summary
    assert "replaces monthly/report.html" in over.changes[0]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_of_the_same_files_has_the_same_bytes(bench, tmp_path, kind):
    first, second = tmp_path / "a/data.csv", tmp_path / "b/data.csv"
    for path in (first, second):
        path.parent.mkdir()
    files = [as_file(first, "one"), as_file(second, "two")]

    made = [
        bench.good("files.archive", {"files": files, "format": kind}) for _ in range(2)
    ]
    os.utime(first, (1, 1))
    made.append(bench.good("files.archive", {"files": files, "format": kind}))

    assert len({outcome.output["sha256"] for outcome in made}) == 1
    path = made[0].files["archive"]
    if kind == "zip":
        with zipfile.ZipFile(path) as packed:
            names = packed.namelist()
    else:
        with tarfile.open(path) as packed:
            names = packed.getnames()
    assert names == ["data.csv", "data-2.csv"]
