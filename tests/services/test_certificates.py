"""Certificates: files of CURVE keys, exchanged with czmq and pyzmq."""

import os
import shutil
import stat
import subprocess
import threading

import pytest

import zmqcy
from zmqcy.auth import Certificate

pytestmark = pytest.mark.skipif(not zmqcy.has("curve"), reason="this libzmq has no CURVE")

METADATA = {"name": "server", "e-mail": "me@example.org", "said": 'so "they" say', "hash": "a # b", "empty": ""}

CZMQ = """
#include <czmq.h>
int main(int count, char **arguments) {
    if (count > 2) {  /* NAME VALUE PATH: write one */
        zcert_t *made = zcert_new();
        zcert_set_meta(made, arguments[1], "%s", arguments[2]);
        return zcert_save(made, arguments[3]);
    }
    zcert_t *loaded = zcert_load(arguments[1]);
    if (!loaded)
        return 1;
    printf("%s\\n%s\\n", zcert_public_txt(loaded), zcert_secret_txt(loaded));
    for (char *name = zlist_first(zcert_meta_keys(loaded)); name; name = NULL)
        printf("%s\\n", zcert_meta(loaded, name));
    return 0;
}
"""


@pytest.fixture(scope="module")
def czmq(tmp_path_factory):
    """A function that runs a czmq program which writes a certificate, or prints a certificate file."""
    compiler = shutil.which("cc") or pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("czmq") / "czmq"
    source = program.with_suffix(".c")
    source.write_text(CZMQ)
    if subprocess.run([compiler, source, "-o", program, "-lczmq"], capture_output=True).returncode:
        pytest.skip("czmq is not installed")
    return lambda *arguments: subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_both_files(tmp_path):
    made = Certificate.generate(METADATA)
    assert zmqcy.curve_public(made.secret) == made.public
    before = os.umask(0)
    try:
        made.save(tmp_path / "server.key")
    finally:
        os.umask(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server.key", "server.key_secret"]
    assert mode(tmp_path / "server.key_secret") == 0o600 and mode(tmp_path / "server.key") == 0o644
    assert made.secret.decode() not in (tmp_path / "server.key").read_text()
    assert Certificate.load(tmp_path / "server.key_secret") == made
    public = Certificate.load(tmp_path / "server.key")
    assert public == Certificate(made.public, metadata=METADATA) != made
    assert public.secret is None and public.metadata == METADATA


def test_a_public_one_writes_one_file(tmp_path):
    made = Certificate(Certificate.generate().public)
    made.save(tmp_path / "client.key")
    assert [path.name for path in tmp_path.iterdir()] == ["client.key"]
    with pytest.raises(ValueError, match="save_secret: the certificate has no secret key; use save"):
        made.save_secret(tmp_path / "client.key_secret")


def test_what_exists_is_kept(tmp_path):
    path = tmp_path / "server.key"
    first, second = Certificate.generate(), Certificate.generate()
    first.save(path)
    for save in (second.save, second.save_secret):
        with pytest.raises(FileExistsError, match="File exists: .*server.key"):
            save(path)
    assert Certificate.load(f"{path}_secret") == first and len(list(tmp_path.iterdir())) == 2
    second.save(path, overwrite=True)
    assert Certificate.load(f"{path}_secret") == second and Certificate.load(path).public == second.public
    assert len(list(tmp_path.iterdir())) == 2 and mode(tmp_path / "server.key_secret") == 0o600


def test_a_file_is_never_half_there(tmp_path):
    """A reader during the replacement gets the old or the new file, and a link is not followed to another file."""
    path = tmp_path / "server.key_secret"
    made = [Certificate.generate(), Certificate.generate()]
    made[0].save_secret(path)
    over = threading.Event()

    def replace():
        for turn in range(200):
            made[turn % 2].save_secret(path, overwrite=True)
        over.set()

    thread = threading.Thread(target=replace)
    thread.start()
    while not over.is_set():
        assert Certificate.load(path) in made
    thread.join()
    other = tmp_path / "other"
    other.write_text("untouched")
    link = tmp_path / "link"
    link.symlink_to(other)
    made[0].save_secret(link, overwrite=True)
    assert other.read_text() == "untouched" and not link.is_symlink()


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        Certificate.generate().save(tmp_path / "none" / "server.key")
    for metadata in (
        {"a": "line\nbreak"},
        {"a b": "c"},
        {"a": "\"'"},
        {"": "c"},
        {"a": "x\u2028y"},
        {"a": "\0"},
        {"a": "x\n"},
        {"a": "\x1b[2J"},
        {"a\n": "x"},
    ):
        with pytest.raises(ValueError, match="does not support the metadata"):
            Certificate.generate(metadata).save(tmp_path / "server.key")
    with pytest.raises(TypeError, match="metadata must be str, not 'a': 1"):
        Certificate.generate({"a": 1}).save(tmp_path / "server.key")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        Certificate.generate().save_secret(tmp_path / "folder", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
def test_a_secret_that_others_can_read(tmp_path):
    made = Certificate.generate()
    made.save(tmp_path / "server.key")
    path = tmp_path / "server.key_secret"
    for bits in (0o640, 0o604, 0o620, 0o777):
        path.chmod(bits)
        with pytest.raises(PermissionError, match=f"mode {bits:04o}.*chmod 600.*server.key_secret"):
            Certificate.load(path)
        assert Certificate.load(path, readable=True) == made
    path.chmod(0o400)
    assert Certificate.load(path) == made


def test_what_is_no_certificate(tmp_path):
    path = tmp_path / "key"
    good = Certificate.generate()
    other = Certificate.generate().secret.decode()
    for text in (
        "", "curve\n", "metadata\n    public-key = 'x'\n", "\0\0", 'public-key = "x"\n',
        f'curve\n    secret-key = "{other}"\n',
    ):  # fmt: skip
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(ValueError, match="not a certificate: section curve has no public-key"):
            Certificate.load(path)
    for key in ("", "short", "'" * 40, "~" * 40, "ü" * 40):
        path.write_text(f"curve\n    public-key = {key}\n")
        with pytest.raises(ValueError, match="public key must be a key of 40 characters of Z85.*key"):
            Certificate.load(path)
    path.write_text(f'curve\n    public-key = "{good.public.decode()}"\n    secret-key = "{other}"\n')
    with pytest.raises(ValueError, match="the keys are not a pair") as caught:
        Certificate.load(path)
    assert other not in str(caught.value)
    path.write_bytes(b"\xff\xfe" * 100)
    with pytest.raises(ValueError, match="not a certificate, because it is not text"):
        Certificate.load(path)
    with pytest.raises(FileNotFoundError):
        Certificate.load(tmp_path / "none")


def test_keys():
    made = Certificate.generate()
    raw = Certificate(zmqcy.z85_decode(made.public), zmqcy.z85_decode(made.secret))
    assert raw == made == Certificate(made.public.decode(), made.secret.decode())
    assert made.secret.decode() not in repr(made) and made.public.decode() in repr(made)
    for wrong in (b"", "x" * 39, "~" * 40, b"\xff" * 40, made.secret[:-1]):
        with pytest.raises(ValueError, match="must be a key of 40 characters of Z85 or 32 bytes") as caught:
            Certificate(made.public, wrong)
        assert not wrong or repr(wrong) not in str(caught.value)
    with pytest.raises(ValueError, match="the keys are not a pair"):
        Certificate(made.public, Certificate.generate().secret)
    with pytest.raises(TypeError, match="not int"):
        Certificate(7)


def test_pyzmq_reads_ours(tmp_path):
    auth = pytest.importorskip("zmq.auth")
    made = Certificate.generate(METADATA)
    made.save(tmp_path / "server.key")
    assert auth.load_certificate(tmp_path / "server.key") == (made.public, None)
    assert auth.load_certificate(tmp_path / "server.key_secret") == (made.public, made.secret)
    assert auth.load_certificates(tmp_path) == {made.public: True}


def test_we_read_pyzmq(tmp_path):
    auth = pytest.importorskip("zmq.auth")
    metadata = {"name": "a server", "url": "a=b#c"}
    public, secret = map(os.fspath, auth.create_certificates(tmp_path, "server", metadata))
    os.chmod(secret, 0o600)
    loaded = Certificate.load(secret)
    assert (loaded.public, loaded.secret) == auth.load_certificate(secret) and loaded.metadata == metadata
    assert Certificate.load(public).public == loaded.public


@pytest.mark.parametrize("value", ["a server", 'so "they" say', "a # b", "it's"])
def test_czmq_reads_ours(tmp_path, czmq, value):
    made = Certificate.generate({"name": value})
    made.save(tmp_path / "server.key")
    assert czmq(tmp_path / "server.key") == [made.public.decode(), made.secret.decode(), value]


@pytest.mark.parametrize("value", ["a server", 'so "they" say', "a # b", "it's"])
def test_we_read_czmq(tmp_path, czmq, value):
    path = tmp_path / "server.key"
    czmq("name", value, path)
    loaded = Certificate.load(f"{path}_secret")
    assert loaded.metadata == {"name": value}
    if '"' not in value:  # czmq writes it, but does not read it
        assert czmq(path) == [loaded.public.decode(), loaded.secret.decode(), value]
    assert Certificate.load(path) == Certificate(loaded.public, metadata={"name": value})


CZMQ_FILE = """\
#   ****  Generated on 2015-10-28 21:43:04 by CZMQ  ****
#   ZeroMQ CURVE Public Certificate

metadata
    name = "it's "x" # 1"
    plain = text   # a comment
curve
    public-key = "VG*aToICg.sI#=Tkf*>p0yErRU0(^#-+MIr74g)b"
"""


def test_a_file_of_czmq(tmp_path):
    (tmp_path / "key").write_text(CZMQ_FILE)
    loaded = Certificate.load(tmp_path / "key")
    assert loaded.public == b"VG*aToICg.sI#=Tkf*>p0yErRU0(^#-+MIr74g)b"
    assert loaded.metadata == {"name": 'it\'s "x" # 1', "plain": "text"}
