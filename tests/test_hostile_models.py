"""Model files that others made or altered: refused with a named error, before anything of them is built."""

import hashlib
import io
import json
import zipfile

import h5py
import pytest

import kcinn
from kcinn.errors import ModelError
from kcinn.model_file import read_config


@pytest.fixture
def altered(toy_model_file, tmp_path):
    """Write a copy of a model file with its configuration or weights edited, or with further members."""

    def write(*, config=None, weights=None, extra=()):
        with zipfile.ZipFile(toy_model_file) as source, zipfile.ZipFile(tmp_path / "bad.keras", "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name == "config.json" and config:
                    data = json.loads(content)
                    config(data["config"])
                    content = json.dumps(data).encode()
                if name == "model.weights.h5" and weights:
                    buffer = io.BytesIO(content)
                    with h5py.File(buffer, "r+") as file:
                        weights(file)
                    content = buffer.getvalue()
                target.writestr(name, content)
            for name, content in extra:
                target.writestr(name, content)
        return tmp_path / "bad.keras"

    return write


def first_weights(file):
    while isinstance(file, h5py.Group) and not isinstance(file, h5py.Dataset):
        file = file[sorted(file)[-1]]
    return file


def replaced(make):
    def edit(file):
        dataset = first_weights(file)
        parent, name, shape = dataset.parent, dataset.name.split("/")[-1], dataset.shape
        del parent[name]
        make(parent, name, shape)

    return edit


LINKS = {
    "external link": lambda group, name, shape: group.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/x")),
    "soft link": lambda group, name, shape: group.__setitem__(name, h5py.SoftLink("/layers")),
    "external storage": lambda group, name, shape: group.create_dataset(
        name, shape, "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
    ),
    "shape bomb": lambda group, name, shape: group.create_dataset(
        name, (2**20, 2**20), "f4", chunks=(64, 64), compression="gzip"
    ),
}


@pytest.mark.parametrize("kind", LINKS)
def test_weights_that_are_not_in_the_file(altered, kind):
    with pytest.raises(ModelError, match=r"bad\.keras: is not built: its weights"):
        kcinn.load(altered(weights=replaced(LINKS[kind])))


@pytest.mark.parametrize("name", ["../../evil.py", "/etc/evil", "evil.pkl", "assets/evil.so"])
def test_members_that_no_model_has(altered, name):
    with pytest.raises(ModelError, match=f"it holds {name}"):
        kcinn.load(altered(extra=[(name, b"\x80\x04.")]))


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda config: config["flow"].update(width=10**7), "flow is larger"),
        (lambda config: config["emulator"].update(n_components=10**9), "emulator is larger"),
        (lambda config: config["emulator"].update(element_width=10**9), "emulator is larger"),
        (lambda config: config["emulator"].update(elements=[7]), "distinct numbers of the 3 labels"),
        (lambda config: config["encoder"].update(n_start=10**12), "encoder is larger"),
        (lambda config: config["flow"].update(depth=-1), "no positive integers"),
        (lambda config: config["instrument"]["arm"][0]["pixel"].__setitem__(1, 1e12), "more pixels"),
        (lambda config: config.update(extra={"class_name": "__lambda__", "config": {"value": ["x"]}}), "loaded"),
        (lambda config: config.pop("flow"), "is not built"),
    ],
)
def test_configurations_that_no_model_has(altered, edit, match):
    with pytest.raises(ModelError, match=match):
        kcinn.load(altered(config=edit))


def test_damage_inside_a_compressed_member(toy_model_file, tmp_path):
    content = bytearray(toy_model_file.read_bytes())
    with zipfile.ZipFile(toy_model_file) as archive:
        member = archive.getinfo("config.json")
    start = member.header_offset + 30 + len(member.filename)
    for place in range(start + 20, start + member.compress_size, 97):
        damaged = content.copy()
        damaged[place : place + 4] = b"\xff\x00\xff\x00"
        (tmp_path / "bad.keras").write_bytes(damaged)
        with pytest.raises(ModelError, match="Copy the file anew"):
            read_config(tmp_path / "bad.keras")


@pytest.mark.parametrize(
    "content", [{"registered_name": "kcinn>CINN"}, {"registered_name": "kcinn>CINN", "config": []}]
)
def test_a_model_without_a_configuration(toy_model_file, tmp_path, content):
    path = tmp_path / "none.keras"
    with zipfile.ZipFile(toy_model_file) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, json.dumps(content) if name == "config.json" else source.read(name))
    with pytest.raises(ModelError, match="is not built"):
        kcinn.load(path)


def test_a_zip_bomb(altered, toy_model_file, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(2**26))
    with pytest.raises(ModelError, match=r"model\.weights\.h5 claims"):
        kcinn.load(tmp_path / "bomb.keras")


def test_altered_weights_are_seen_against_a_checksum(altered, toy_model_file):
    def alter(file):
        first_weights(file)[...] += 0.01

    expected = hashlib.sha256(toy_model_file.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=f"expected {expected}"):
        kcinn.load(altered(weights=alter), expected_sha256=expected)
    kcinn.load(toy_model_file, expected_sha256=expected.upper())
