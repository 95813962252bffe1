"""Training jobs against the models that Kubeflow publishes of them."""


def fault_of(body):
    """What Kubeflow's own models have against an object; empty for nothing."""
    try:
        match body["kind"]:
            case "TrainJob":
                from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

                TrainerV1alpha1TrainJob.from_dict(body)
            case "TrainingRuntime":
                from kubeflow_trainer_api.models import TrainerV1alpha1TrainingRuntime

                TrainerV1alpha1TrainingRuntime.from_dict(body)
            case "PyTorchJob":
                return _fault_of_pytorch_job(body["spec"])
    except ValueError as error:
        return str(error)
    return ""


def _fault_of_pytorch_job(spec):
    from kubeflow.training import models

    known = {
        "spec": (spec, models.KubeflowOrgV1PyTorchJobSpec),
        "runPolicy": (spec["runPolicy"], models.KubeflowOrgV1RunPolicy),
        **{kind: (replica, models.KubeflowOrgV1ReplicaSpec) for kind, replica in spec["pytorchReplicaSpecs"].items()},
    }
    for place, (given, model) in known.items():
        if unknown := set(given) - set(model.attribute_map.values()):
            return f"{place} has unknown fields: {sorted(unknown)}"
    return "" if isinstance(spec["nprocPerNode"], str) else "nprocPerNode is no string"
