"""Digests of built-in code as earlier releases took them.

A run that was approved before an upgrade is bound to a digest in the form of that time.
Each is listed with the digest of the same code in today's form, so that the run goes on
where the code is still the same. `tests/integration/test_upgrade.py` compares the list
with the code of that release.
"""

from collections.abc import Mapping

EARLIER: Mapping[str, str] = {
    # command
    "f1c645fa53d672d06f55b2a9b27df57ac0b73bddbe511a5d8479b40dc90f6f0d": (
        "ast1:d185d1aa28621a9f094e6e464f8366bbf114cd106d8fd0c31219b770c81f57e0"
    ),
    # data
    "89fe30d28c5aa5094c5fd5fc134eda4532ffbe7ff952402b5106ac1a403a8d70": (
        "ast1:6291646f1371044bc75e5f00af0304ad2edbbf33f8ba5623fb62ec570444b170"
    ),
    # files
    "2433044ff0a021b1a1923f5a34e1289757367377f4851fa7ff08be84a657d8db": (
        "ast1:aef5da80cd58380c482b897e1261899fef9c501af7c14ce7fd64eb590171c030"
    ),
    # git-operations
    "af62a6e1296143c9536fd6f101e345ca07d7324213319054ed12cef82673c73d": (
        "ast1:f8c29ea1eb8257c77c0153f155c5dadfcad4eeba063060222ecbfd686c0b64c1"
    ),
    # http
    "239e0c896af7ebb24abb5d966c0c5aa4b808e724f5a7a374d65d79bf45791300": (
        "ast1:5e952513fa84bd6a8606fbbb563c929e66a99640e3298e124ee0032b6e085460"
    ),
    # jira-write
    "570d014f30a88e06322a891c0dec0fb4628321ce6375c28f4af50468f5e92bf7": (
        "ast1:80a568a8e25f6dd8f60ee6caa09ece4764f1a1b0d3b87d8eb1d925b56e3de03a"
    ),
    # noop
    "f2e3240a6a34e4179e894ebac13ec8b099ab1cd309c14a1fd077c05fad55d727": (
        "ast1:38cfbe7708357018d9b99285c78de17d28fa56400b6afca137ae570fec014246"
    ),
    # notify
    "bf35d09ed56847c91f07069d30804fa2fdf33ab8be236963a5aeca5febd5a006": (
        "ast1:fd39bd878c740c37ae9e96b3c77669a18a9fdb9ca7179721043724338bacee5f"
    ),
    # report
    "de7eff1bbc37951ffb1b43535731f7fd47d53651670bcd801761c7cf8d9b5fc9": (
        "ast1:fdaf08354b3d513c682f1d94d251441f0d900d6292e4640526074b07883a3273"
    ),
}
