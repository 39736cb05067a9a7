"""Values that no well-meaning browser sends: of parameters, paths, headers and bodies."""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import strategies as st

INTEGERS = [
    "0",
    "1",
    "-0",
    "-1",
    "2147483648",
    str(2**63 - 1),
    str(2**63),
    "-" + str(2**63),
    "9" * 18,
    "9" * 30,
    "9" * 4301,
    "٣",
    "²",
    "1_000",
    "0x10",
    " 1",
    "1.5",
    "1e5",
    "1,2",
]
FLOATS = ["1e999", "-1e999", "NaN", "nan", "inf", "-Infinity", "-0.0", "1e-400", "0.1" + "0" * 400, "1e308"]
DATES = [
    "9999-12-31",
    "0000-01-01",
    "0001-01-01",
    "2026-02-30",
    "1969-12-31",
    "99999-01-01",
    "20260228",
    "2026-W01-1",
    "2026-01-01T00:00:00+99:99",
    "0001-01-01T00:00:00+14:00",
]
TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udfffx",
    "\u202egpj.exe",
    "\x1b[31m",
    "a\r\nX-Evil: 1",
    "%00",
    "%",
    "%s{}{0.x}",
    "'\"<script>",
    "../../etc/passwd",
    "[::1",
    "http://[::1",
    "//evil",
    "x" * 300,
    "x" * 70_000,
    "😀" * 200,
    "ß",
    "İ",
    "V" + "9" * 30,
    "0" * 64,
    "~",
    "1~",
    "x~1",
    "NaN~1",
    "1e999~1",
    "1~" + "9" * 30,
    "," * 6000,
    "1,2,",
    "id",
    "-id",
    "c80ea3d5-6d3a-4e8b-b489-66037976df33",
    "s3://bucket/?endpoint=http://127.0.0.1/#x",
    "file:///etc/passwd",
]
JSONS = [
    "{}",
    "[]",
    "null",
    "1",
    '"x"',
    "[" * 100_000,
    '{"a":' * 100_000,
    "[" * 900 + "]" * 900,
    "[1e999]",
    "[NaN]",
    '{"1": ["\\ud800"]}',
    '{"1": ["\\u0000"]}',
    '{"9' + "9" * 30 + '": ["a"]}',
    '{"1": [["a"]]}',
    '{"1": 1}',
    '[{"name": "\\ud800.zip", "size": 1}]',
    '[{"name": "a.zip", "size": 1e999}]',
    '[{"name": "a.zip", "size": 1}]',
    '[{"name": "a.zip", "size": 9' + "9" * 30 + "}]",
    '[{"name": "a.zip", "size": -5, "modified": 1e308}]',
    '[{"name": {"a": 1}, "size": true}]',
    '[1, "x", null]',
    '{"size": 1, "name": "a"}',
    '["' + "x" * 70_000 + '"]',
]
ANY_TEXT = st.text(st.characters(), max_size=40)
PARAMETERS = st.one_of(
    st.sampled_from([*INTEGERS, *FLOATS, *DATES, *TEXTS, *JSONS]),
    ANY_TEXT,
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | ANY_TEXT,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT | st.just("1"), inner, max_size=3)
        ),
        max_leaves=4,
    ).map(json.dumps),
)
PATHS = st.one_of(
    st.sampled_from(
        [*INTEGERS, "x" * 300, "a\0b", "%", "..", "a b", "😀", "'\"<", "-1", "c80ea3d5", "\u202e"]
    ),
    st.uuids().map(str),
    ANY_TEXT,
)

IDS = [str(2**63), "9" * 30, "0", str(2**63 - 1)]  # that a path may have where it has a number


def latin(text: str) -> str:
    """As a server hands a header over: bytes read as Latin-1, without line breaks."""
    return text.encode("utf-8", "replace").decode("latin-1").replace("\r", "").replace("\n", "")


HEADERS = {
    "HTTP_COOKIE": [
        'sessionid="\\000\\000\\000\\000\\000\\000\\000\\000\\000"',
        "sessionid=" + "x" * 5000,
        "csrftoken=é; messages=x",
        "messages=[[",
        "sessionid=\xed\xa0\x80; a",
        "=;=;",
        "csrftoken=",
        "sessionid=a" + "%00" * 9,
    ],
    "HTTP_HX_REQUEST": ["true"],
    "HTTP_HX_BOOSTED": ["true"],
    "HTTP_HX_HISTORY_RESTORE_REQUEST": ["true"],
    "HTTP_HX_CURRENT_URL": [
        "http://[",
        "http://testserver/x",
        "//[::1",
        "%ff",
        "javascript:alert(1)",
        "http://a:b/",
    ],
    "HTTP_HX_CURRENT_URL_URI_AUTOENCODED": ["true"],
    "HTTP_HX_TRIGGERING_EVENT": ["[" * 100_000, "{", '{"a":' * 5000],
    "HTTP_HX_TARGET": ["x" * 3000, "\xff"],
    "HTTP_HX_PROMPT": ["%E0%A4%A", "\xff"],
    "HTTP_RANGE": ["bytes=0-", "bytes=-1", "bytes=9-1", "bytes=" + "9" * 5000 + "-", "x", "bytes=\xb2-"],
    "HTTP_IF_NONE_MATCH": ["*", '"', 'W/"', "x" * 5000],
    "HTTP_IF_MODIFIED_SINCE": [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 0001 00:00:00 -9999",
        "x",
        "0",
        "9" * 40,
    ],
    "HTTP_IF_UNMODIFIED_SINCE": ["Mon, 99 Foo 99999 99:99:99 GMT"],
    "HTTP_ACCEPT": ["application/json", "*/*;q=nan", "x" * 3000, ";;;,"],
    "HTTP_ACCEPT_ENCODING": ["gzip;q=x", "br, gzip", ";"],
    "HTTP_ACCEPT_LANGUAGE": ["x" * 3000, "de;q=9", "\xff"],
    "HTTP_AUTHORIZATION": ["Bearer \xff", "Basic !!!", "Bearer"],
    "HTTP_X_AUTH_TOKEN": ["\xff", "x" * 5000, " "],
    "HTTP_X_REQUESTED_WITH": ["XMLHttpRequest"],
    "HTTP_X_FORWARDED_FOR": ["x", "::1, \xff", "1.2.3.4" * 500],
    "HTTP_X_FORWARDED_PROTO": ["https", "\xff"],
    "HTTP_X_HTTP_METHOD_OVERRIDE": ["DELETE"],
    "HTTP_ORIGIN": ["null", "http://[", "http://evil.example", "\xff"],
    "HTTP_REFERER": ["http://[", "\xff", "https://testserver/"],
    "HTTP_HOST": ["", "[::1", "a b", "\xff", "evil.example", "localhost:99999999", "x" * 3000, "127.0.0.1"],
    "HTTP_TRANSFER_ENCODING": ["chunked", "Chunked, x"],
    "CONTENT_LENGTH": ["", "-1", "x", "9" * 30, "0", "3"],
    "CONTENT_TYPE": [
        "multipart/form-data",
        "multipart/form-data; boundary=\xff",
        "multipart/form-data; boundary=x; charset=rot13",
        "multipart/form-data; boundary=x; charset=unicode_escape",
        "application/json; charset=utf-7",
        "text/plain",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=x",
        ";",
        "",
        "application/json",
        "multipart/form-data; boundary=" + "x" * 300,
        "multipart/mixed; boundary=x",
    ],
}
HEADER_SETS = st.lists(
    st.sampled_from([(name, value) for name, values in HEADERS.items() for value in values]), max_size=3
).map(dict)

DISPOSITION = b"--x\r\nContent-Disposition: form-data; "
BODIES = st.sampled_from(
    [
        b"",
        b"\xff\xfe",
        b"a=%ff&b=%ED%A0%80&c=%00",
        b"&" * 30_000,
        DISPOSITION + b'name="a"\r\n\r\n\\ud800\r\n--x--\r\n',
        DISPOSITION + b'name="a\x00"\r\n\r\n\x00\xed\xa0\x80\r\n--x--\r\n',
        DISPOSITION + b'name="images"; filename="\xff\x00/../a"\r\n\r\nx\r\n--x--\r\n',
        DISPOSITION + b'name="a"\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--x--',
        DISPOSITION + b"name*=rot13''a\r\n\r\nx\r\n--x--\r\n",
        DISPOSITION + b"filename*=utf-7''%ff; name=files\r\n\r\nx\r\n--x--\r\n",
        b"[" * 100_000,
        b'{"request_id": "\\ud800", "is_right": false, "correct_label": "\\ud800"}',
    ]
)
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"]


def quoted(text: str) -> str:
    """Percent-encoded, with halves of characters as their three bytes."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")
