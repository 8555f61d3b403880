"""The hash tree: RFC 6962 test leaves, as used by the certificate transparency implementations."""

from hashlib import sha256

import pytest

from tcabench.evidence.merkle import root

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]


@pytest.mark.parametrize(
    ("count", "head"),
    [
        (0, sha256(b"").hexdigest()),
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ],
)
def test_published_tree_heads(count, head):
    assert root(LEAVES[:count]).hex() == head


def test_a_leaf_is_never_an_inner_node():
    inner = b"\x00" + sha256(b"\x00a").digest() + sha256(b"\x00b").digest()
    assert root([b"a", b"b"]) != root([inner[1:]])
