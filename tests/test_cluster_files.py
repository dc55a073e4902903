"""The files in cluster/, checked as far as a machine without those systems can: nothing here is started."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tclap.errors import InputError
from tclap.lanes.preflight import check_socket_path

REPO = Path(__file__).parents[1]
KUBERAY = REPO / "cluster" / "kuberay"
KUBERNETES = "1.31"
SCRIPTS = ["cluster/slurm.sh", "docker/up.sh", "docker/image/start-ray", "docker/image/start-mlflow"]


def closed(properties, required=()):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT, WHOLE, YES_NO, ANY = (
    {"type": "string"},
    {"type": "integer", "minimum": 0},
    {"type": "boolean"},
    {"type": "object"},
)
START_PARAMS = {"type": "object", "additionalProperties": TEXT}
# The fields that KubeRay 1.5's custom resources have, as its API reference lists them; pods are checked by Kubernetes'
# own schema.
CLUSTER_SPEC = closed(
    {
        "rayVersion": TEXT,
        "authOptions": closed({"mode": {"enum": ["token", "disabled"]}}, ["mode"]),
        "enableInTreeAutoscaling": YES_NO,
        "autoscalerOptions": closed(
            {
                **dict.fromkeys(["image", "imagePullPolicy", "version"], TEXT),
                **dict.fromkeys(["resources", "securityContext"], ANY),
                "idleTimeoutSeconds": WHOLE,
                "upscalingMode": {"enum": ["Default", "Aggressive", "Conservative"]},
            }
        ),
        "headGroupSpec": closed(
            {"serviceType": TEXT, "enableIngress": YES_NO, "rayStartParams": START_PARAMS, "template": ANY},
            ["template"],
        ),
        "workerGroupSpecs": {
            "type": "array",
            "items": closed(
                {
                    "groupName": TEXT,
                    **dict.fromkeys(
                        ["replicas", "minReplicas", "maxReplicas", "numOfHosts", "idleTimeoutSeconds"], WHOLE
                    ),
                    "rayStartParams": START_PARAMS,
                    "template": ANY,
                },
                ["groupName", "minReplicas", "maxReplicas", "template"],
            ),
        },
        "suspend": YES_NO,
    },
    ["headGroupSpec"],
)
JOB_SPEC = closed(
    {
        "entrypoint": TEXT,
        "runtimeEnvYAML": TEXT,
        "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        **dict.fromkeys(["shutdownAfterJobFinishes", "suspend"], YES_NO),
        **dict.fromkeys(["ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit"], WHOLE),
        "rayClusterSpec": CLUSTER_SPEC,
    },
    ["entrypoint", "rayClusterSpec"],
)


def load(path):
    return yaml.safe_load(path.read_text())


def cluster_spec(manifest):
    return manifest["spec"] if manifest["kind"] == "RayCluster" else manifest["spec"]["rayClusterSpec"]


def pods(manifest):
    spec = cluster_spec(manifest)
    return [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def check(manifest):
    """Raise ValidationError where KubeRay's or Kubernetes' API server would refuse, or silently drop, a field."""
    spec = CLUSTER_SPEC if manifest["kind"] == "RayCluster" else JOB_SPEC
    envelope = closed(
        {
            "apiVersion": {"const": "ray.io/v1"},
            "kind": {"enum": ["RayCluster", "RayJob"]},
            "metadata": closed({"name": {"type": "string", "pattern": "^[a-z][a-z0-9-]*$"}}, ["name"]),
            "spec": spec,
        },
        ["apiVersion", "kind", "metadata", "spec"],
    )
    jsonschema.validate(manifest, envelope)
    for template in pods(manifest):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.fixture(params=["raycluster.yaml", "rayjob.yaml"])
def manifest(request):
    return load(KUBERAY / request.param)


def test_kuberay_manifests_fit_the_schemas(manifest):
    check(manifest)


def test_shared_volume_fits_the_schema_and_is_the_one_that_pods_mount(manifest):
    claim = load(KUBERAY / "storage.yaml")
    kubernetes_validate.validate(claim, KUBERNETES, strict=True)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for template in pods(manifest):
        volumes = {v["name"]: v for v in template["spec"]["volumes"]}
        assert volumes["storage"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
        (container,) = template["spec"]["containers"]
        mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
        assert mounts == {"storage": "/storage", "shm": "/dev/shm"}


def test_esc50_is_downloaded_by_who_reads_it_to_where_it_is_read(manifest):
    job = load(KUBERAY / "esc50.yaml")
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    head = cluster_spec(manifest)["headGroupSpec"]["template"]["spec"]
    assert pod["securityContext"] == head["securityContext"]
    assert container["securityContext"] == head["containers"][0]["securityContext"]
    assert [v for v in head["volumes"] if v["name"] == "storage"] == pod["volumes"]
    assert container["volumeMounts"][0] in head["containers"][0]["volumeMounts"]
    assert container["command"][:-1] == ["tclap", "data", "esc50"]
    assert f"--data {container['command'][-1]}" in load(KUBERAY / "rayjob.yaml")["spec"]["entrypoint"]


def test_gpu_workers_scale_from_zero_without_root_and_with_secrets_by_name_only(manifest):
    (workers,) = cluster_spec(manifest)["workerGroupSpecs"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert cluster_spec(manifest)["authOptions"]["mode"] == "token"
    for template in pods(manifest):
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        (container,) = template["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "tclap-mlflow"}}]
        assert not [e for e in container.get("env", []) if re.search("TOKEN|PASSWORD", e["name"])]


def test_sweep_does_not_wait_for_more_workers_than_can_come(manifest):
    spec = cluster_spec(manifest)
    env = {e["name"]: e["value"] for e in spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["TCLAP_CONCURRENT_TRIALS"] == str(spec["workerGroupSpecs"][0]["maxReplicas"])


def test_job_s_cluster_is_the_cluster():
    assert cluster_spec(load(KUBERAY / "rayjob.yaml")) == cluster_spec(load(KUBERAY / "raycluster.yaml"))


def break_field(manifest, old, new):
    text = yaml.safe_dump(manifest)
    assert old in text
    return yaml.safe_load(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("maxReplicas:", "maxReplica:"),
        ("authOptions:", "authOption:"),
        ("mode: token", "mode: tokens"),
        ("num-cpus: '0'", "num-cpus: 0"),  # KubeRay wants text
        ("volumeMounts:", "volumeMount:"),
        ("containerPort: 8265", "containerPort: dashboard"),
        ("ray.io/v1", "ray.io/v2"),
    ],
)
def test_check_refuses_what_is_misspelt(manifest, old, new):
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(break_field(manifest, old, new))


@pytest.fixture(scope="module")
def launcher():
    """Ray's own reading of the launcher file, with its defaults filled in, and the file itself."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    raw = load(REPO / "cluster" / "aws.yaml")

    def read(config):
        prepared = prepare_config(copy.deepcopy(config))
        validate_config(prepared)
        return prepared

    return read, raw


def test_launcher_file_fits_ray_s_schema_and_scales_from_zero(launcher):
    read, raw = launcher
    config = read(raw)
    gpu = config["available_node_types"]["gpu"]
    assert gpu["min_workers"] == 0 < gpu["max_workers"] <= config["max_workers"]
    assert gpu["resources"]["GPU"] == 1
    assert config["head_node_type"] == "head"
    assert f"TCLAP_CONCURRENT_TRIALS={gpu['max_workers']}" in " ".join(config["docker"]["run_options"])
    for start in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "RAY_AUTH_MODE=token" in raw[start][-1]


@pytest.mark.parametrize(("key", "value"), [("idle_timeout", 5), ("max_workers", "four"), ("head_node_type", "boss")])
def test_launcher_check_refuses_what_is_wrong(launcher, key, value):
    read, raw = launcher
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        read({**raw, key: value})


@pytest.mark.parametrize("script", [*SCRIPTS, "docker/postgres/start-postgres"])
def test_scripts_pass_shellcheck(script):
    assert os.access(REPO / script, os.X_OK)
    subprocess.run(["bash", "-n", REPO / script], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, REPO / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("job", ["1", "4294967295", "123456789012_1000000"])
def test_slurms_long_tmpdir_is_no_matter_to_ray(job):
    """The script puts Ray's sockets into a folder of its own, short enough for any job's number."""
    lines = (REPO / "cluster" / "slurm.sh").read_text().splitlines()
    (export,) = (line for line in lines if line.startswith("export RAY_TMPDIR="))
    environment = {"SLURM_JOB_ID": job, "TMPDIR": f"/scratch/slurm/{job}/" + "x" * 90, "PATH": os.environ["PATH"]}
    shell = ["bash", "-c", f'{export}; printf %s "$RAY_TMPDIR"']
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, check=True)
    check_socket_path({**environment, "RAY_TMPDIR": done.stdout})
    with pytest.raises(InputError):
        check_socket_path(environment)
    starts = [number for number, line in enumerate(lines) if "ray start" in line]
    assert lines.index(export) < min(starts)


def test_image_is_one_name_in_all_files():
    manifests = [load(KUBERAY / name) for name in ("raycluster.yaml", "rayjob.yaml")]
    images = {pod["spec"]["containers"][0]["image"] for manifest in manifests for pod in pods(manifest)}
    images.add(load(KUBERAY / "esc50.yaml")["spec"]["template"]["spec"]["containers"][0]["image"])
    assert images == {load(REPO / "cluster" / "aws.yaml")["docker"]["image"]}
