import threading

import pytest

from patchcanvas.files import whole


def test_a_reader_never_sees_half_a_file_however_many_write(tmp_path):
    path = tmp_path / "folder" / "file"

    def write(letter: str) -> None:
        for _ in range(50):
            with whole(path) as part:
                part.write_text(letter * 10_000)
            content = path.read_text()
            assert len(content) == 10_000
            assert len(set(content)) == 1

    failures = []
    hook, threading.excepthook = threading.excepthook, lambda raised: failures.append(raised)
    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    threading.excepthook = hook
    assert not failures
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_what_fails_leaves_the_old_file_and_nothing_beside(tmp_path):
    def write():
        with whole(path) as part:
            part.write_text("ne")
            raise OSError("full")

    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="full"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
