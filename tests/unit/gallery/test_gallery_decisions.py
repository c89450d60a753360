from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from worker.gallery.decisions import Change, PictureDecision, compacted, match, read_journal, write_line
from worker.gallery.store.picture_store import PictureFile

NOW = datetime(2026, 12, 1, 10, tzinfo=timezone.utc)
FILE = PictureFile("a.png", 10, 0.0)


def line(file: PictureFile, fingerprint: str, **change: object) -> str:
    return write_line(file, fingerprint, Change.model_validate(change).to_json(), NOW)


def test_the_last_line_counts_field_by_field() -> None:
    text = "\n".join([line(FILE, "x", flag="pick", stars=4), line(FILE, "x", flag="none")])
    assert read_journal(text).decisions == {"x": PictureDecision(flag="none", stars=4)}


def test_lines_that_cant_be_read_are_passed_over() -> None:
    good = line(FILE, "x", flag="pick")
    bad = [
        "",
        "[]",
        "null",
        "{}",
        '{"v": 1, "t": "2026',
        good.replace('"pick"', '"maybe"'),
        good.replace('"v": 1', '"v": 2'),
    ]
    assert read_journal("\n".join([*bad, good, *bad])).decisions == {"x": PictureDecision(flag="pick")}
    assert read_journal("\n".join(bad)).decisions == {}


def test_a_name_that_is_not_utf8_comes_back_as_it_was() -> None:
    name = "caf\udce9.png"
    assert list(read_journal(line(PictureFile(name, 1, 0.0), "x", stars=1)).by_name) == [name]


changes = st.fixed_dictionaries(
    {},
    optional={
        "flag": st.sampled_from(["none", "pick", "reject"]),
        "stars": st.integers(0, 5),
        "label": st.integers(0, 4),
        "note": st.text(max_size=20),
        "reviewed": st.booleans(),
    },
)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), changes), max_size=20))
def test_compacting_changes_nothing(steps: list[tuple[str, str, dict[str, object]]]) -> None:
    lines = [line(PictureFile(f"{name}.png", ord(content), 0.0), content, **change) for name, content, change in steps]
    before = read_journal("\n".join(lines))
    after = read_journal("\n".join(compacted(before)))
    assert after.decisions == before.decisions
    known = [{name: line.fingerprint for name, line in journal.by_name.items()} for journal in (before, after)]
    assert known[0] == known[1]


def test_only_pictures_of_a_lost_ones_size_are_read() -> None:
    journal = read_journal(line(FILE, "x", flag="pick"))
    files = [PictureFile("b.png", 10, 0.0), PictureFile("c.png", 11, 0.0), PictureFile("d.png", 10, 0.0)]
    read: list[str] = []

    def fingerprint(file: PictureFile) -> str:
        read.append(file.name)
        return {"d.png": "x"}.get(file.name, "other")

    assert match(journal, files, fingerprint, lambda *_: True) == {"d.png": "x"}
    assert read == ["b.png", "d.png"]


def test_an_unchanged_picture_is_known_without_being_read() -> None:
    journal = read_journal(line(FILE, "x", flag="pick"))

    def fingerprint(file: PictureFile) -> str:
        raise AssertionError(file)

    assert match(journal, [FILE], fingerprint, lambda *_: True) == {"a.png": "x"}
