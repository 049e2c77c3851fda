"""Quota classes: `default` is what every project has that has no limits of its own."""

from typing import Any

from asking import ask
from serving import ServiceProcess


def good(service: ServiceProcess, method: str, path: str, body: Any = None) -> Any:
    status, content, _ = ask(service, method, f"/v3/{path}", body)
    assert status < 300, content
    return content


def test_the_default_class_is_every_projects(service: ServiceProcess) -> None:
    """Its limits take the place of the settings, in what is shown and in what is refused; a project's own come first."""
    settings = good(service, "GET", "os-quota-class-sets/default")["quota_class_set"]
    assert (settings.pop("id"), settings["volumes"], settings["gigabytes"]) == ("default", 1000, 100000)
    changed = good(service, "PUT", "os-quota-class-sets/default", {"quota_class_set": {"gigabytes": 3}})
    assert changed == {"quota_class_set": {**settings, "gigabytes": 3}}
    assert good(service, "GET", "os-quota-sets/p1/defaults")["quota_set"]["gigabytes"] == 3
    assert good(service, "GET", "os-quota-sets/p1")["quota_set"]["gigabytes"] == 3
    assert good(service, "GET", "limits")["limits"]["absolute"]["maxTotalVolumeGigabytes"] == 3
    refused = ask(service, "POST", "/v3/volumes", {"volume": {"size": 4}})
    assert (refused[0], "quota is 3G" in str(refused[1])) == (413, True)
    good(service, "PUT", "os-quota-sets/p1", {"quota_set": {"gigabytes": 5}})
    good(service, "POST", "volumes", {"volume": {"size": 4}})
    good(service, "DELETE", "os-quota-sets/p1")
    assert good(service, "GET", "os-quota-sets/p1")["quota_set"]["gigabytes"] == 3
    # Another class is kept, and no project's.
    good(service, "PUT", "os-quota-class-sets/other", {"quota_class_set": {"gigabytes": -1, "volumes": 0}})
    assert good(service, "GET", "os-quota-class-sets/other")["quota_class_set"]["volumes"] == 0
    assert good(service, "GET", "os-quota-sets/p1")["quota_set"]["volumes"] == 1000
    for body in (
        {"quota_class_set": {"cats": 1}},
        {"quota_class_set": {"volumes": -2}},
        {"quota_class_set": {"volumes": 1 << 40}},
    ):
        assert ask(service, "PUT", "/v3/os-quota-class-sets/default", body)[0] == 400
    assert ask(service, "PUT", f"/v3/os-quota-class-sets/{'x' * 300}", {"quota_class_set": {}})[0] == 400
