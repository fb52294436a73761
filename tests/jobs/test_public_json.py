"""Paths and locations in S3 are removed from JSON for other people."""

import pytest

from cloudburst.jobs.public_json import without_folders


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no such file: /srv/my app/uploads/0.png", "no such file: 0.png"),
        ("[Errno 2] No such file: '/home/a b/c/d.png'", "[Errno 2] No such file: 'd.png'"),
        ("text: /srv/o'brien/secret/x.png", "text: x.png"),
        ("image:/srv/secret/x.png; expected a picture", "image:x.png; expected a picture"),
        ("../../srv/secret/x.png is gone", "x.png is gone"),
        ("\\\\host\\share\\x.png and C:\\Users\\me\\y.png", "x.png and y.png"),
        ("GET http://10.0.0.7:5000/health: HTTP 500", "GET http://10.0.0.7:5000/health: HTTP 500"),
        ("1/2 of a scene, 48000/1001", "1/2 of a scene, 48000/1001"),
        ("no such object: s3://films/in/one.png", "no such object: one.png"),
        ("s3://films/a b/c.mp4, s3://films/d.mp4 and 1 more", "c.mp4, d.mp4 and 1 more"),
        ("s3://films/: head_bucket: 404", ": head_bucket: 404"),
    ],
)
def test_paths_in_texts_become_file_names(text, shown):
    assert without_folders(text) == shown


def test_fields_with_paths_keep_the_file_name():
    shown = without_folders({"video": {"path": "/srv/x y/a.mp4"}, "films": ["/srv/b.mp4"], "n": 1})
    assert shown == {"video": {"path": "a.mp4"}, "films": ["b.mp4"], "n": 1}
