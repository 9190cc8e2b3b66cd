"""`deploy/compose.yaml` holds together: what is named exists, ports meet, data outlives its container, images are
pinned, and nothing is reachable that should not be.

That the program takes the parts' commands and configuration is checked beside it (`cli/src/commands/deploy_tests.rs`);
no container is started here.
"""

import re
import shutil
import subprocess
import tomllib
import unittest
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PARTS = {"processors", "sql", "clickhouse", "webhooks", "api", "chain", "stripe"}


def flag(service: dict[str, Any], name: str) -> str:
    """The value of a flag on a service's command line."""
    return service["command"][service["command"].index(name) + 1]


def parts() -> dict[str, dict[str, Any]]:
    """The services that run parts of Streambook."""
    ours = {name: it for name, it in SERVICES.items() if it["image"].startswith("streambook:")}
    return {name: it for name, it in ours.items() if it["command"][0] == "run"}


def servers() -> dict[str, dict[str, Any]]:
    """The cluster's servers."""
    return {name: it for name, it in SERVICES.items() if "spu" in it.get("command", [])}


class Deploy(unittest.TestCase):
    """The files of `deploy/`."""

    def test_every_part_is_there_once(self) -> None:
        named = [it["command"][1 : it["command"].index("--name")] for it in parts().values()]
        run = [word for words in named for word in words if word in PARTS]
        self.assertEqual(sorted(run), sorted([*PARTS, "processors"]))
        names = [flag(it, "--name") for it in parts().values()]
        self.assertEqual(len(set(names)), len(names), "two processes share a name")

    def test_images_are_pinned(self) -> None:
        for name, it in SERVICES.items():
            self.assertRegex(it["image"], r"^[a-z/-]+:v?\d+\.\d+(\.\d+)*(-[a-z]+)?$", name)
        for image in re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
            self.assertRegex(image, r"^[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)?$")
        (fluvio,) = re.findall(r"COPY --from=(infinyon/\S+)", (DEPLOY / "Dockerfile").read_text())
        self.assertEqual(fluvio, SERVICES["fluvio-sc"]["image"], "the servers are not of the controller's version")
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        ours = {it["image"] for it in SERVICES.values() if it["image"].startswith("streambook:")}
        self.assertEqual(ours, {f"streambook:{version}"})
        rust = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
        self.assertIn(f"FROM rust:{rust}", (DEPLOY / "Dockerfile").read_text())
        self.assertRegex(SERVICES["grafana"]["environment"]["GF_INSTALL_PLUGINS"], r"^[a-z-]+ \d+\.\d+\.\d+$")

    def test_what_is_named_exists(self) -> None:
        for name, it in SERVICES.items():
            with self.subTest(name):
                self.assertLessEqual(set(it["networks"]), set(COMPOSE["networks"]))
                self.assertLessEqual(set(it.get("depends_on", {})), set(SERVICES))
                self.assertLessEqual(set(it.get("secrets", [])), set(COMPOSE["secrets"]))
                for other, how in it.get("depends_on", {}).items():
                    if how["condition"] == "service_healthy":
                        self.assertIn("healthcheck", SERVICES[other])
                for volume in it.get("volumes", []):
                    source, target = volume.split(":")[:2]
                    self.assertTrue(target.startswith("/"), volume)
                    if source.startswith("."):
                        self.assertTrue((DEPLOY / source).exists(), volume)
                        self.assertTrue(volume.endswith(":ro"), f"{volume} could be written")
                    else:
                        self.assertIn(source, COMPOSE["volumes"])
        for name, secret in COMPOSE["secrets"].items():
            self.assertEqual(secret["file"], f"./secrets/{name}")

    def test_what_must_not_be_lost_is_in_a_volume_of_its_own(self) -> None:
        kept: dict[str, str] = {}
        for name, it in SERVICES.items():
            for volume in it.get("volumes", []):
                source, target = volume.split(":")[:2]
                if not source.startswith("."):
                    self.assertNotIn(source, kept, f"{name} and {kept.get(source)} share {source}")
                    kept[source] = name
                    it.setdefault("kept", []).append(target)
        self.assertEqual(set(kept), set(COMPOSE["volumes"]))
        for name, it in parts().items():
            self.assertEqual(it["kept"], [flag(it, "--data")], name)
            self.assertIn(f"./streambook.toml:{flag(it, '--config')}:ro", it["volumes"], name)
        for name, it in servers().items():
            self.assertEqual(it["kept"], [flag(it, "--log-base-dir")], name)
        self.assertEqual(SERVICES["fluvio-sc"]["kept"], [flag(SERVICES["fluvio-sc"], "--local")])

    def test_the_cluster_is_what_the_engine_needs(self) -> None:
        controller, register = SERVICES["fluvio-sc"], SERVICES["fluvio-register"]
        self.assertEqual(flag(register, "--endpoint"), flag(controller, "--bind-public"))
        known = dict(it.split("=") for it in register["command"] if "=" in it)
        self.assertEqual(len(known), len(servers()))
        config = tomllib.loads((DEPLOY / "streambook.toml").read_text())
        self.assertEqual(config["log"]["endpoint"], flag(controller, "--bind-public"))
        self.assertGreaterEqual(len(servers()), config["log"]["replication"])
        for name, it in servers().items():
            self.assertEqual(known[flag(it, "-i")], f"{flag(it, '-p')},{flag(it, '-v')}", name)
            self.assertTrue(flag(it, "-p").startswith(f"{name}:") and flag(it, "-v").startswith(f"{name}:"), name)
            self.assertEqual(flag(it, "--sc-addr"), flag(controller, "--bind-private"))
            self.assertEqual(it["command"][:2], ["cluster", "rejoin"], "after a crash its copies would not be in step")
            self.assertEqual(flag(it, "--endpoint"), flag(controller, "--bind-public"), name)
            self.assertEqual(flag(it, "--server"), flag(it, "-i"), name)
            self.assertEqual(flag(it, "--data"), flag(it, "--log-base-dir"), name)
            self.assertGreater(int(flag(it, "--peer-max-bytes")), 16 << 20, "a follower would skip records")
            self.assertEqual(it["depends_on"]["fluvio-register"]["condition"], "service_completed_successfully")

    def test_only_what_people_use_is_published_and_on_this_machine_alone(self) -> None:
        self.assertTrue(COMPOSE["networks"]["inside"]["internal"])
        published = {name: it["ports"] for name, it in SERVICES.items() if "ports" in it}
        self.assertEqual(set(published), {"api", "stripe", "grafana"})
        taken = []
        for name, ports in published.items():
            for port in ports:
                address, outer, inner = port.split(":")
                self.assertEqual(address, "127.0.0.1", name)
                taken.append(outer)
                if name in parts():
                    self.assertEqual(flag(SERVICES[name], "--listen"), f"0.0.0.0:{inner}")
        self.assertEqual(len(set(taken)), len(taken))
        for name in [*servers(), "fluvio-sc", "postgres", "clickhouse", "prometheus"]:
            self.assertEqual(SERVICES[name]["networks"], ["inside"], name)

    def test_prometheus_scrapes_every_process(self) -> None:
        (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
        (static,) = job["static_configs"]
        listening = {f"{name}:{flag(it, '--listen').split(':')[1]}" for name, it in parts().items()}
        self.assertEqual(set(static["targets"]), listening)

    def test_files_are_where_the_configuration_looks(self) -> None:
        text = (DEPLOY / "streambook.toml").read_text()
        for name in re.findall(r"/run/secrets/(\w+)", text):
            self.assertIn(name, COMPOSE["secrets"])
            for service, it in parts().items():
                if name != "stripe_secrets" or service == "stripe":
                    self.assertIn(name, it["secrets"], service)
        config = tomllib.loads(text)
        self.assertEqual(config["clickhouse"]["user"], SERVICES["clickhouse"]["environment"]["CLICKHOUSE_USER"])
        self.assertIn(f"//{SERVICES['postgres']['environment']['POSTGRES_USER']}@postgres:5432/", config["sql"]["url"])
        grafana = SERVICES["grafana"]["environment"]
        for name in re.findall(r"\$(STREAMBOOK_GRAFANA_\w+)", self.provisioning()):
            self.assertIn(name, grafana)
        mounted = {volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
        self.assertIn(grafana["STREAMBOOK_GRAFANA_DASHBOARDS"], mounted)
        self.assertIn(grafana["STREAMBOOK_GRAFANA_CLICKHOUSE_HOST"], SERVICES)
        self.assertIn("prometheus", grafana["STREAMBOOK_GRAFANA_PROMETHEUS_URL"])

    @staticmethod
    def provisioning() -> str:
        files = (ROOT / "dashboards" / "grafana" / "provisioning").rglob("*.yaml")
        return "\n".join(file.read_text() for file in files)

    def test_grafanas_user_is_made_with_a_password_that_needs_no_quoting(self) -> None:
        script = DEPLOY / "clickhouse" / "grafana.sh"
        bash = shutil.which("bash")
        assert bash is not None
        subprocess.run([bash, "-n", script], check=True)
        environment = {"GRAFANA_CLICKHOUSE_PASSWORD": "it's", "PATH": ""}
        refused = subprocess.run([bash, script], env=environment, capture_output=True, text=True, check=False)
        self.assertEqual((refused.returncode, "letters and digits" in refused.stderr), (1, True))


if __name__ == "__main__":
    unittest.main()
