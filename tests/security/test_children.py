"""What `make run` gives to the services beside the gateway."""

from __future__ import annotations

from deploy.up import table
from gateway.settings import Settings
from providers.registry import catalog

OURS = ("ADMIN_TOKEN", "METRICS_TOKEN", "WEBHOOK_SECRET", "POINTSMAN_SECRET_KEY", "SECRETS_DIR")
KEYS = [variable for row in catalog().values() for variable in row.get("key_env", ())]


def test_the_classifier_is_given_no_key_of_a_provider() -> None:
    secrets = dict.fromkeys((*KEYS, *OURS, "DATABASE_URL", "REDIS_URL"), "canary")
    plain = {"PATH": "/bin", "CLASSIFIER_WORKERS": "2", "LOCAL_CONTEXT": "1024"}
    children = {one.name: one for one in table({**secrets, **plain}, Settings(), 0).children}
    for name in ("classifier", "local"):
        given = children[name].environment
        assert "canary" not in given.values()
        assert plain.items() <= given.items()
    assert secrets.items() <= children["gateway"].environment.items()
