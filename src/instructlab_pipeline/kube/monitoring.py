"""What platform teams add for monitoring: the server of the runs' metrics, its monitor, and a dashboard."""

import json
from collections.abc import Mapping
from typing import Any

from instructlab_pipeline import __version__
from instructlab_pipeline.kube.manifests_secrets import OPTIONAL_S3_KEYS, S3_KEYS
from instructlab_pipeline.kube.names import IMAGE, NAME_LABEL, SERVICE_ACCOUNT
from instructlab_pipeline.kube.security import hardened
from instructlab_pipeline.params.table import PARAMETERS, PROFILES

NAME = "instructlab-pipeline-metrics"
DASHBOARD = "instructlab-pipeline-dashboard"
PORT = 9464
RUNS = "s3://$(AWS_S3_BUCKET)/runs"
SOURCE = {"type": "prometheus", "uid": "${source}"}  # whichever Prometheus the reader of the dashboard chooses

Manifest = Mapping[str, Any]


def manifests() -> dict[str, Manifest]:
    return {
        "deployment": deployment(),
        "service": service(),
        "service-monitor": service_monitor(),
        "network-policy": network_policy(),
    }


def generators() -> dict[str, Any]:
    """The dashboard as a ConfigMap, under the label by which Grafana's sidecar finds it."""
    options = {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}}
    return {"configMapGenerator": [{"name": DASHBOARD, "files": ["dashboard.json"], "options": options}]}


def deployment() -> Manifest:
    """Reads the runs in the bucket at each scrape; keeps nothing."""
    secret = PARAMETERS["s3_secret"].defaults[PROFILES[0]]
    container = {
        "name": "metrics",
        "image": f"{IMAGE}:{__version__}-cpu",
        "args": ["metrics", RUNS, "--serve", str(PORT)],
        "env": [_variable(key, str(secret)) for key in (*S3_KEYS, *OPTIONAL_S3_KEYS)],
        "ports": [{"name": "metrics", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "metrics"}},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    }
    pod = {"serviceAccountName": SERVICE_ACCOUNT, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "labels": _labels()},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _labels()},
            "template": {"metadata": {"labels": _labels()}, "spec": hardened(pod, scratch={"emptyDir": {}})},
        },
    }


def service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "labels": _labels()},
        "spec": {"selector": _labels(), "ports": [{"name": "metrics", "port": PORT, "targetPort": "metrics"}]},
    }


def service_monitor() -> Manifest:
    """For the Prometheus operator; on OpenShift, monitoring of user-defined projects must be on."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": NAME, "labels": _labels()},
        "spec": {
            "selector": {"matchLabels": _labels()},
            "endpoints": [{"port": "metrics", "path": "/metrics", "interval": "60s", "scrapeTimeout": "30s"}],
        },
    }


def network_policy() -> Manifest:
    """Whoever scrapes may reach this one port."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "podSelector": {"matchLabels": _labels()},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": PORT}]}],
        },
    }


def dashboard_text() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


def dashboard() -> Manifest:
    """For Grafana: one panel a question, of the metrics in `report/openmetrics.py`."""
    panels = (
        ("Published", "instructlab_run_published", "short"),
        ("Stages at work", "instructlab_stage_running", "short"),
        ("How far", "instructlab_stage_progress_ratio", "percentunit"),
        ("Time in a stage", "instructlab_stage_seconds_total", "s"),
        ("Failures", "instructlab_stage_failures_total", "short"),
        ("Training loss", "instructlab_training_loss", "short"),
        ("Tokens a second", "instructlab_training_tokens_per_second", "short"),
        ("Memory", "instructlab_training_memory_bytes", "bytes"),
        ("GPU utilization", "instructlab_training_flops_utilization_ratio", "percentunit"),
        ("Evaluation", "instructlab_evaluation_score", "percentunit"),
    )
    source = {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}
    runs = {
        "name": "run",
        "label": "Run",
        "type": "query",
        "datasource": SOURCE,
        "query": "label_values(instructlab_run_last_event_timestamp_seconds, run)",
        "refresh": 2,  # whenever the time range changes: there are new runs
        "multi": True,
        "includeAll": True,
    }
    return {
        "title": "instructlab-pipeline",
        "uid": "instructlab-pipeline",
        "schemaVersion": 39,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [source, runs]},
        "panels": [_panel(number, *panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, title: str, metric: str, unit: str) -> Manifest:
    legend = "{{run}} {{metric}} {{model}}" if metric.endswith("score") else "{{run}} {{stage}}"
    return {
        "id": number + 1,
        "title": title,
        "type": "timeseries",
        "datasource": SOURCE,
        "gridPos": {"h": 8, "w": 8, "x": 8 * (number % 3), "y": 8 * (number // 3)},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [{"refId": "A", "expr": f'{metric}{{run=~"$run"}}', "legendFormat": legend}],
    }


def _labels() -> dict[str, str]:
    return {NAME_LABEL: NAME}


def _variable(key: str, secret: str) -> Manifest:
    """A connection may leave its region out."""
    optional = {"optional": True} if key in {"AWS_DEFAULT_REGION", *OPTIONAL_S3_KEYS} else {}
    return {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **optional}}}
