"""Remote images: the same rows as from a folder, nothing read twice without need, every refusal in one line."""

import pytest
from fakes import FakeBackbone, draw, one_line
from stores import BUCKET, KEY, SECRET, upload

from fc7.errors import DataError, MissingExtra
from fc7.extract import read_manifest
from fc7.extract.extraction import extract, fill

FC7 = ("--backbone", "squeezenet1_1", "--weights", "random:0", "--layer", "gap")


def test_the_same_images_keys_and_bits_as_from_a_folder(s3, pictures, tmp_path):
    url = upload(s3, pictures, "data")
    there = extract(read_manifest(url), FakeBackbone(), cache=tmp_path / "one")
    here = extract(read_manifest(pictures), FakeBackbone(), cache=tmp_path / "two")
    assert list(there.paths) == list(here.paths)
    assert list(there.labels) == list(here.labels)
    assert list(there.split) == list(here.split)
    assert there.classes == here.classes
    assert there.sha256.tobytes() == here.sha256.tobytes()
    assert there.vectors.tobytes() == here.vectors.tobytes()


def test_class_folders_and_a_path_that_has_lost_a_slash(s3, pictures, tmp_path):
    url = upload(s3, pictures / "train", "flat")
    manifest = read_manifest(tmp_path.__class__(url))
    assert manifest.images == read_manifest(pictures / "train").images
    assert manifest.files[0] == f"{url}/blue/0.png"


def test_a_first_run_reads_each_object_twice_and_a_second_none(s3, pictures):
    url = upload(s3, pictures, "data")
    fill(read_manifest(url), [FakeBackbone()])
    assert len(s3.objects()) == 2 * 10
    assert s3.objects("HEAD") == []
    s3.forget()
    backbone = FakeBackbone()
    done = fill(read_manifest(url), [backbone])[0]
    assert (done.seen, done.ok, done.computed, backbone.batches) == (10, 10, 0, 0)
    assert s3.objects() == s3.objects("HEAD") == []
    assert len(s3.asked) == 1, "one listing"


def test_growth_by_k_computes_k(s3, pictures):
    url = upload(s3, pictures, "data")
    fill(read_manifest(url), [FakeBackbone()])
    for number in range(3):
        draw(pictures / "train" / "red" / f"new{number}.png", (10, 200, number))
        s3.store.pipe_file(f"{url}/train/red/new{number}.png", (pictures / f"train/red/new{number}.png").read_bytes())
    s3.forget()
    done = fill(read_manifest(url), [FakeBackbone()])[0]
    assert (done.seen, done.computed, done.reused) == (13, 3, 10)
    assert len(s3.objects()) == 2 * 3


def test_changed_content_of_the_same_size_is_seen_at_once(s3, pictures):
    url = upload(s3, pictures, "data")
    fill(read_manifest(url), [FakeBackbone()])
    data = bytearray((pictures / "train/red/1.png").read_bytes())
    data[-20] ^= 1
    s3.store.pipe_file(f"{url}/train/red/1.png", bytes(data))
    s3.forget()
    fill(read_manifest(url), [FakeBackbone()])
    assert set(s3.objects()) == {f"/{BUCKET}/data/train/red/1.png"}


def test_what_is_no_image_is_rejected_with_its_reason(s3, pictures, monkeypatch):
    url = upload(s3, pictures, "data")
    whole = (pictures / "train/red/1.png").read_bytes()
    for name, data in {"empty.png": b"", "cut.png": whole[:45], "text.jpg": b"hello", "notes.txt": b"x"}.items():
        s3.store.pipe_file(f"{url}/train/red/{name}", data)
    s3.store.pipe_file(f"{url}/train/red/huge.png", whole + bytes(5000))
    s3.store.pipe_file(f"{url}/train/red/.hidden.png", b"")
    monkeypatch.setattr("fc7.extract.manifest.object_store.MAX_BYTES", 4000)
    manifest = read_manifest(url)
    s3.store.rm_file(f"{url}/train/blue/0.png")
    s3.answer = lambda method, path: "403 FORBIDDEN" if path.endswith("blue/2.png") else None
    done = fill(manifest, [FakeBackbone()])[0]
    reasons = {reject.path.rpartition("/")[2]: reject.reason for reject in done.rejects}
    assert reasons.keys() == {"empty.png", "cut.png", "text.jpg", "notes.txt", "huge.png", "0.png", "2.png"}
    assert reasons["empty.png"] == "empty file"
    assert "damaged" in reasons["cut.png"]
    assert "not an image" in reasons["text.jpg"]
    assert "suffix" in reasons["notes.txt"]
    assert "more than 4000" in reasons["huge.png"]
    assert reasons["0.png"] == "not readable: there is no such object"
    assert reasons["2.png"] == "not readable: the store denies access"
    assert (done.seen, done.ok, done.rejected) == (15, 8, 7)


@pytest.mark.parametrize("remote_csv", [True, False])
def test_a_csv_whose_paths_are_urls(s3, pictures, tmp_path, remote_csv):
    url = upload(s3, pictures, "data")
    rows = [f"{url}/{path},{label},{split}" for path, label, split, *_ in read_manifest(pictures).images]
    if remote_csv:
        rows[0] = rows[0].removeprefix(f"{url}/")
        s3.store.pipe_file(f"{url}/set.csv", "\n".join(["path,label,split", *rows]).encode())
        data = f"{url}/set.csv"
    else:
        draw(tmp_path / "here.png", (1, 2, 3))
        rows.append("here.png,red,train")
        data = tmp_path / "set.csv"
        data.write_text("\n".join(["path,label,split", *rows]))
    done = fill(read_manifest(data), [FakeBackbone()])[0]
    assert (done.ok, done.computed) == (10, 10) if remote_csv else (11, 11)
    s3.forget()
    assert fill(read_manifest(data), [FakeBackbone()])[0].computed == 0
    assert s3.objects() == ([f"/{BUCKET}/data/set.csv"] if remote_csv else [])


def test_objects_of_a_csv_that_do_not_exist(s3, tmp_path):
    (tmp_path / "set.csv").write_text(f"path,label\ns3://{BUCKET}/no/1.png,a\ns3://{BUCKET}/no/2.png,b\n")
    with pytest.raises(DataError, match=r"Not one of 2 files .* is there"):
        read_manifest(tmp_path / "set.csv")


@pytest.mark.parametrize("path", ["https://u:hush@host/a.jpg", "https://host/a.jpg?X-Amz-Signature=hush"])
def test_a_url_with_a_secret_is_refused_and_not_repeated(tmp_path, path):
    (tmp_path / "set.csv").write_text(f"path,label\n{path},a\n")
    with pytest.raises(DataError, match=r"https://host/a\.jpg was named with") as error:
        read_manifest(tmp_path / "set.csv")
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("name", ["no-such-bucket/x", f"{BUCKET}/nothing/here"])
def test_no_bucket_and_no_prefix_are_one_line(s3, fc7, name):
    code, _, err = fc7("extract", f"s3://{name}", *FC7, "--quiet")
    assert code == 1
    assert f"s3://{name}" in one_line(err)


def test_no_access_no_credentials_and_no_server_are_one_line(s3, fc7, pictures, monkeypatch, tmp_path):
    from fc7.cache.urls import filesystem

    url = upload(s3, pictures, "data")
    s3.answer = lambda method, path: "403 FORBIDDEN"
    code, out, err = fc7("extract", url, *FC7, "--quiet")
    assert (code, "denies access" in one_line(err)) == (1, True)
    s3.answer = lambda method, path: None
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3.store.clear_instance_cache()
    filesystem.cache_clear()
    code, _, err = fc7("extract", url, *FC7, "--quiet")
    assert (code, "credentials" in one_line(err)) == (1, True)
    assert SECRET not in out + err


def test_a_server_that_is_gone_in_the_middle_ends_in_one_line_and_keeps_what_was_done(s3, pictures):
    url = upload(s3, pictures, "data")
    manifest = read_manifest(url)
    backbone = FakeBackbone(batch_size=2)

    def gone():
        s3.answer = lambda method, path: "503 SERVICE UNAVAILABLE"

    backbone.on_forward = gone
    s3.store.retries = 1
    with pytest.raises(DataError, match="cannot be reached"):
        fill(manifest, [backbone], unit_rows=2, workers=1)
    s3.answer = lambda method, path: None
    done = fill(manifest, [FakeBackbone(batch_size=2)], unit_rows=2)[0]
    assert (done.ok, done.reused > 0) == (10, True)


def test_any_other_store_of_fsspec():
    pytest.importorskip("fsspec")
    import fsspec

    store = fsspec.filesystem("memory")
    for label in ("a", "b"):
        store.pipe_file(f"/set/{label}/1.png", label.encode())
    manifest = read_manifest("memory://set")
    assert list(manifest.images.paths) == ["a/1.png", "b/1.png"]
    assert fill(manifest, [FakeBackbone()])[0].rejected == 2
    store.rm("/set", recursive=True)


def test_without_the_extra_the_error_names_it(monkeypatch):
    from fc7.cache.urls import filesystem

    filesystem.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingExtra, match=r"fc7\[remote\]"):
        read_manifest("s3://bucket/prefix")


def test_nothing_that_is_written_has_the_secret(s3, fc7, pictures, tmp_path):
    url = upload(s3, pictures, "data")
    words = ("--head", "ridge", "-o", tmp_path / "out" / "one.fc7")
    (tmp_path / "out").mkdir()
    code, out, err = fc7("fit", url, *FC7, *words, "--verbose")
    assert code == 0, err
    files = [path for path in (*(tmp_path / "out").rglob("*"), *(tmp_path / "cache").rglob("*")) if path.is_file()]
    assert len(files) > 3
    for secret in (SECRET, KEY):
        assert secret not in out + err
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_predict_and_the_transformer_take_urls(s3, fc7, fc7_json, pictures, tmp_path):
    from fc7.classify import EmbeddingTransformer

    url = upload(s3, pictures, "data")
    for name in ("train/red/.hidden.png", "train/red/notes.txt"):
        s3.store.pipe_file(f"{url}/{name}", b"x")
    assert fc7("fit", pictures, *FC7, "--head", "ridge", "-o", tmp_path / "a.fc7")[0] == 0
    here = fc7_json("predict", tmp_path / "a.fc7", pictures)["predictions"]
    (tmp_path / "cache" / "index.sqlite").unlink()
    s3.forget()
    there = fc7_json("predict", tmp_path / "a.fc7", url)["predictions"]
    assert len(s3.objects()) == 10, "the cache has them: each is hashed once"
    (notes,) = [one for one in there if one["rejected"]]
    assert (notes["path"], "'.txt' is not one of" in notes["rejected"]) == (f"{url}/train/red/notes.txt", True)
    there.remove(notes)
    assert [one["path"] for one in there] == [f"{url}/{path.relative_to(pictures).as_posix()}" for path in
                                              sorted(pictures.rglob("*.png"))]  # fmt: skip
    assert [one | {"path": ""} for one in there] == [one | {"path": ""} for one in here]
    one, gone = f"{url}/train/red/1.png", f"{url}/none.png"
    found = fc7_json("predict", tmp_path / "a.fc7", gone, one)["predictions"]
    assert [(answer["path"], answer["rejected"]) for answer in found] == [(gone, "there is no such object"), (one, "")]
    embed = EmbeddingTransformer("squeezenet1_1", "gap", weights="random:0")
    images = ("train/red/1.png", "val/blue/6.png")
    rows = embed.transform([f"{url}/{name}" for name in images])
    assert rows.tobytes() == embed.transform([pictures / name for name in images]).tobytes()
    with pytest.raises(DataError, match=r"1 of 1 files .* no such object"):
        embed.transform([gone])


def test_a_systems_own_and_caches_are_left_out_and_said(s3, pictures, log):
    url = upload(s3, pictures, "data")
    names = [
        "train/@eaDir/1.png",
        "train/red/@eaDir/1.png/T.png",
        "#recycle/x/1.png",
        "train/red/Thumbs.db",
        ".x/1.png",
    ]
    for name in (*names, "fc7/FORMAT", "fc7/recipes/a/recipe.json"):
        s3.store.pipe_file(f"{url}/{name}", b"x")
    assert read_manifest(url).images == read_manifest(pictures).images
    assert "2 @eaDir" in log.messages[0]
    for name in ("#recycle", "Thumbs.db", ".x", "fc7"):
        assert f"1 {name}" in log.messages[0]


def test_splits_are_judged_by_what_they_hold(s3, pictures):
    url = upload(s3, pictures / "train", "data/A")
    upload(s3, pictures / "val", "data/B")
    manifest = read_manifest(url.removesuffix("/A"))
    assert "A and B hold the same folders (blue and red)" in manifest.unclear
    assert (len(manifest), set(manifest.images.labels)) == (10, {""})


def test_prefixes_without_class_folders_and_beside_them(s3, pictures, log):
    url = upload(s3, pictures, "data")
    for name in ("top.png", "val/loose.png", "docs/a.png", "train/"):
        s3.store.pipe_file(f"{url}/{name}", b"x")
    assert len(read_manifest(url).labelled()) == 10
    assert log.messages == [
        f"fc7: {url}: images in no class folder have no label: 2, the first is top.png.",
        f"fc7: left out of {url}: folders beside train and val: docs.",
    ]
    flat = read_manifest(f"{url}/train/red")
    assert list(flat.images) == [(f"{number}.png", "", "", "", False) for number in (1, 3, 5)]


def test_a_csv_in_a_store_is_read_as_others_are(s3, pictures):
    url = upload(s3, pictures, "data")
    for text, said in {
        "path,label\na,b,c\n": "line 2 has 3 cells",
        "path;label\na,b;c;d\n": "line 2 has 3 cells",
        "é": "path",
    }.items():
        s3.store.pipe_file(f"{url}/set.csv", text.encode("utf-16" if text == "é" else "utf-8"))
        with pytest.raises(DataError, match=f"data/set.csv.*{said}"):
            read_manifest(f"{url}/set.csv")


def test_review_says_that_it_takes_files(s3, fc7, pictures, tmp_path):
    url = upload(s3, pictures, "data")
    csv = tmp_path / "set.csv"
    csv.write_text(f"path,label\n{url}/train/red/1.png,red\n{url}/train/blue/0.png,blue\n")
    for data in (url, csv):
        code, _, err = fc7("review", data, *FC7)
        assert (code, "copy them to this machine" in one_line(err)) == (2, True)
