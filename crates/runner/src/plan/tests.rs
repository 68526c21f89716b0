use super::*;
use serde_json::json;

fn manifest(spec: Value) -> Value {
    json!({"metadata": {"name": "pi-1"}, "spec": spec})
}

#[test]
fn what_is_asked_of_a_cluster() {
    let plan = Plan::read(&manifest(json!({
        "type": "Python",
        "driver": {"cores": 1, "memory": "512m"},
        "executor": {"instances": 2, "cores": "3", "coreRequest": "500m", "memory": "1g", "memoryOverhead": "256m"},
    })));
    let plan = plan.unwrap();
    assert_eq!((plan.millicores(), plan.memory_mib(), plan.executor.cores), (2000, 512 + 2 * 1280, 3));
}

#[test]
fn environments() {
    let plan = Plan::read(&manifest(json!({
        "type": "Python",
        "driver": {
            "envFrom": [{"secretRef": {"name": "s"}}, {"prefix": "P_", "configMapRef": {"name": "c", "optional": true}}],
            "env": [
                {"name": "A", "value": 1},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
            "envVars": {"C": "x"},
        },
    })));
    let secret = Object { kind: ObjectKind::Secret, name: "s".to_owned(), optional: false };
    let map = Object { kind: ObjectKind::ConfigMap, name: "c".to_owned(), optional: true };
    let plan = plan.unwrap();
    assert_eq!(
        plan.driver.environment,
        [
            Variable::All { prefix: String::new(), object: secret.clone() },
            Variable::All { prefix: "P_".to_owned(), object: map.clone() },
            Variable::Plain { name: "C".to_owned(), value: "x".to_owned() },
            Variable::Plain { name: "A".to_owned(), value: "1".to_owned() },
            Variable::Key { name: "B".to_owned(), object: secret.clone(), key: "k".to_owned() },
        ]
    );
    assert_eq!(plan.objects(), [&secret, &map]);
}

#[test]
fn errors_name_the_place() {
    for (spec, text) in [
        (json!({"type": "Python", "driver": {"memory": "lots"}}), "spec.driver.memory: 'lots' is not an amount"),
        (json!({"type": "Python", "executor": {"instances": "two"}}), "spec.executor.instances: 'two'"),
        (json!({"type": "Python", "restartPolicy": {"type": "Maybe"}}), "spec.restartPolicy.type: 'Maybe'"),
        (json!({"type": "Python", "deps": {"jars": "a.jar"}}), "spec.deps.jars: it is not a list"),
    ] {
        let error = Plan::read(&manifest(spec)).unwrap_err();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn restarts() {
    let restart = |policy, failure_retries| Restart {
        policy,
        failure_retries,
        failure_interval: 7,
        submission_retries: 1,
        submission_interval: 9,
    };
    assert_eq!(restart(RestartPolicy::Never, 3).after_run(false, 1), None);
    assert_eq!(restart(RestartPolicy::Always, 0).after_run(true, 5), Some(0));
    assert_eq!(restart(RestartPolicy::Always, 0).after_run(false, 5), Some(7));
    let on_failure = restart(RestartPolicy::OnFailure, 2);
    assert_eq!((on_failure.after_run(false, 2), on_failure.after_run(false, 3)), (Some(7), None));
    assert_eq!(on_failure.after_run(true, 1), None);
    assert_eq!((on_failure.after_submission(1), on_failure.after_submission(2)), (Some(9), None));
}

#[test]
fn what_no_field_says_is_taken_of_spark_conf() {
    let conf = json!({"spark.driver.memory": "2g", "spark.executor.memory": "1g", "spark.executor.cores": "2",
        "spark.executor.instances": "3", "spark.executor.memoryOverhead": "24m", "spark.nothing": null});
    let plan = Plan::read(&manifest(json!({"type": "Python", "sparkConf": conf}))).unwrap();
    assert_eq!((plan.millicores(), plan.memory_mib(), plan.instances), (7000, 2048 + 3 * 1048, 3));
    let fields = json!({"type": "Python", "sparkConf": conf, "driver": {"memory": "512m", "memoryOverhead": "0m"},
        "executor": {"instances": 1, "cores": 1}, "timeToLiveSeconds": -5});
    let plan = Plan::read(&manifest(fields)).unwrap();
    assert_eq!((plan.millicores(), plan.memory_mib(), plan.time_to_live), (2000, 512 + 1048, Some(0)));
}

#[test]
fn a_template_and_the_fields_of_a_pod() {
    let from = |field: &str| json!({"name": "F", "valueFrom": {"fieldRef": {"fieldPath": field}}});
    let of = |field: &str| {
        let driver = json!({"labels": {"team": "a"}, "annotations": {"x/y": "z"}, "env": [from(field)]});
        Plan::read(&manifest(json!({"type": "Python", "driver": driver}))).map(|plan| plan.driver.environment)
    };
    for (field, value) in [
        ("metadata.name", "pi-1-driver"),
        ("metadata.namespace", "default"),
        ("metadata.labels['team']", "a"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['x/y']", "z"),
        ("status.podIP", "127.0.0.1"),
        ("spec.serviceAccountName", "default"),
    ] {
        assert_eq!(
            of(field).unwrap(),
            [Variable::Literal { name: "F".to_owned(), value: value.to_owned() }],
            "{field}"
        );
    }
    let problem = |found: &[Variable]| match found {
        [Variable::NeedsContainer { problem, .. }] => problem.clone(),
        other => panic!("{other:?}"),
    };
    let text = problem(&of("status.phase").unwrap());
    assert!(text.starts_with("spec.driver.env[0].valueFrom.fieldRef: 'status.phase' is no field"), "{text}");
    let resource = json!([{"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}]);
    let plan = Plan::read(&manifest(json!({"driver": {"env": resource}}))).unwrap();
    let text = problem(&plan.driver.environment);
    assert!(text.contains("resourceFieldRef") && text.ends_with("write the value itself"), "{text}");

    let container = json!({"name": "spark", "env": [{"name": "A", "value": "template"}, {"name": "T", "value": "t"}],
        "envFrom": [{"configMapRef": {"name": "c"}}], "resources": {"limits": {"cpu": 1}}});
    let driver = json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container, {}], "hostname": "h"}},
        "env": [{"name": "A", "value": "own"}]});
    let conf = json!({"spark.kubernetes.driverEnv.A": "conf", "spark.kubernetes.driver.label.x": "y"});
    let plan = Plan::read(&manifest(json!({"type": "Python", "driver": driver, "sparkConf": conf}))).unwrap();
    let map = Object { kind: ObjectKind::ConfigMap, name: "c".to_owned(), optional: false };
    let plain = |name: &str, value: &str| Variable::Plain { name: name.to_owned(), value: value.to_owned() };
    let all = Variable::All { prefix: String::new(), object: map };
    let expected = [all, plain("A", "template"), plain("T", "t"), plain("A", "conf"), plain("A", "own")];
    assert_eq!(plan.driver.environment, expected);
}

#[test]
fn mounts_that_cannot_be() {
    let with = |volume: Value, mount: Value| {
        Plan::read(&manifest(json!({"type": "Python", "volumes": [volume], "driver": {"volumeMounts": [mount]}})))
    };
    let at = |path: &str| json!({"name": "v", "mountPath": path});
    for (volume, mount, text) in [
        (json!({"name": "w", "emptyDir": {}}), at("/mnt"), "no volume is named 'v'"),
        (json!({"name": "v", "emptyDir": {}}), at("/mnt/../etc"), "'/mnt/../etc' is no path to mount at"),
        (json!({"name": "v", "emptyDir": {}}), at("mnt"), "'mnt' is no path to mount at"),
        (json!({"name": "v", "emptyDir": {}}), at("/"), "'/' is no path to mount at"),
        (
            json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../../x"}]}}),
            at("/mnt"),
            "'../../x' is no path inside of the volume",
        ),
    ] {
        let error = with(volume, mount).unwrap_err();
        assert!(error.starts_with("spec.driver.volumeMounts[0]") && error.contains(text), "{error}");
    }
    let host = |path: &str| json!({"name": "v", "hostPath": {"path": path}});
    for (volume, mount, text) in [
        (host("/data"), at("/mnt"), "mount it at '/data', or put the files into"),
        (
            host("/data"),
            json!({"name": "v", "mountPath": "/data", "subPath": "x"}),
            "there is no container to mount it in",
        ),
        (
            json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}),
            at("/mnt"),
            "of the kind persistentVolumeClaim, which does not exist here",
        ),
        (
            json!({"name": "v", "emptyDir": {}}),
            json!({"name": "v", "mountPath": "/m", "subPathExpr": "$(A)"}),
            "subPathExpr",
        ),
    ] {
        match &with(volume, mount).unwrap().driver.mounts[0].content {
            Content::NeedsContainer(problem) => {
                assert!(problem.starts_with("spec.driver.volumeMounts[0]") && problem.contains(text), "{problem}");
            }
            other => panic!("{other:?}"),
        }
    }
    let machine = with(host("/tmp/"), at("/tmp")).unwrap();
    assert_eq!(machine.driver.mounts[0].content, Content::Machine);
    let scratch = json!([{"name": "spark-local-dir-1", "hostPath": {"path": "/fast"}}]);
    let mount = json!({"volumeMounts": [{"name": "spark-local-dir-1", "mountPath": "/tmp/spark"}]});
    assert_eq!(Plan::read(&manifest(json!({"volumes": scratch, "executor": mount}))).unwrap().executor.mounts, []);
    let many: Vec<Value> = (0..101).map(|n| json!({"name": "c", "path": format!("/m/{n}")})).collect();
    let error = Plan::read(&manifest(json!({"driver": {"configMaps": many}}))).unwrap_err();
    assert!(error.contains("mounts 101 volumes, and at most 100"), "{error}");
}
