mod mutations;

use super::*;
use crate::yaml::{Mapping, Node};

const SMALL: &str = "apiVersion: sparkoperator.k8s.io/v1beta2
kind: SparkApplication
metadata:
  name: job
spec:
  type: Python
  sparkVersion: \"4.3.0\"
  mainApplicationFile: local:///app/job.py
  driver: {cores: 1}
  executor: {instances: 1}
";

fn small(more: &str) -> Manifest {
    Manifest::read(&format!("{SMALL}{more}")).unwrap()
}

/// The one problem of the small manifest with that added to its `spec`.
fn only(more: &str) -> String {
    let problems = small(more).validate();
    let [problem] = problems.as_slice() else { panic!("{more}: {problems:#?}") };
    problem.to_string()
}

fn settings(yaml: &str) -> Mapping {
    Manifest::read(yaml).unwrap().root().clone()
}

#[test]
fn the_default_and_the_small_one_break_no_rule() {
    assert_eq!(Manifest::default_for("job").validate(), []);
    assert_eq!(small("").validate(), []);
    let again = Manifest::read(&Manifest::default_for("job").to_yaml()).unwrap();
    assert_eq!(again, Manifest::default_for("job"));
    let name = Manifest::new_job_name().unwrap();
    assert_eq!(Manifest::default_for(&name).validate(), []);
}

#[test]
fn every_rule_says_where_what_and_what_would_be_right() {
    let table = [
        ("  mode: Cluster\n", "spec.mode (line 11): 'Cluster'; it must be one of cluster, client; write cluster"),
        ("  image: 3\n", "spec.image (line 11): the number 3; it must be a text; put it in quotes: \"3\""),
        ("  image: []\n", "spec.image (line 11): a list; it must be a text; write a text"),
        (
            "  sparkConfigMap: \"\"\n",
            "spec.sparkConfigMap (line 11): an empty text; it must not be empty; write it, or remove the key",
        ),
        (
            "  imagePullPolicy: sometimes\n",
            "spec.imagePullPolicy (line 11): 'sometimes'; it must be one of Always, IfNotPresent, Never; choose one of them",
        ),
        (
            "  pythonVersion: 3\n",
            "spec.pythonVersion (line 11): the number 3; it must be a text; put it in quotes: \"3\"",
        ),
        (
            "  arguments: [a, 10]\n",
            "spec.arguments[1] (line 11): the number 10; it must be a text; put it in quotes: \"10\"",
        ),
        ("  arguments: a\n", "spec.arguments (line 11): 'a'; it must be a list; write each item after a dash"),
        ("  deps: []\n", "spec.deps (line 11): a list; it must be a mapping; write its fields below it, indented"),
        (
            "  monitoring: 1\n",
            "spec.monitoring (line 11): the number 1; it must be a mapping; write its fields below it, indented",
        ),
        (
            "  deps: {packages: [\"a:b\"]}\n",
            "spec.deps.packages[0] (line 11): 'a:b'; it must be group:artifact:version; \
             write org.apache.spark:spark-avro_2.13:4.0.0, for example",
        ),
        (
            "  deps: {excludePackages: [a]}\n",
            "spec.deps.excludePackages[0] (line 11): 'a'; it must be group:artifact; write org.slf4j:slf4j-api, for example",
        ),
        (
            "  failureRetries: many\n",
            "spec.failureRetries (line 11): 'many'; it must be a whole number of 32 bits; write 1, for example",
        ),
        (
            "  restartPolicy: {type: on-failure}\n",
            "spec.restartPolicy.type (line 11): 'on-failure'; it must be one of Never, Always, OnFailure; write OnFailure",
        ),
        (
            "  restartPolicy: {onFailureRetryInterval: 0}\n",
            "spec.restartPolicy.onFailureRetryInterval (line 11): the number 0; it must be a whole number, at least 1; \
             write 1, for example",
        ),
        (
            "  restartPolicy: {onFailureRetries: \"3\"}\n",
            "spec.restartPolicy.onFailureRetries (line 11): '3'; it must be a whole number, at least 0; write 3, without quotes",
        ),
        (
            "  sparkConf: {spark.ui.enabled: false}\n",
            "spec.sparkConf[\"spark.ui.enabled\"] (line 11): the truth value false; it must be a text; put it in quotes: \"false\"",
        ),
        (
            "  sparkConf: {spark.master: yarn}\n",
            "spec.sparkConf[\"spark.master\"] (line 11): this key; the operator refuses it in sparkConf; \
             remove it: the operator says where the job runs",
        ),
        (
            "  sparkConf: {spark.kubernetes.container.image: x}\n",
            "spec.sparkConf[\"spark.kubernetes.container.image\"] (line 11): this key; the operator refuses it in sparkConf; \
             set spec.image",
        ),
        (
            "  sparkConf: {spark.executor.instances: \"3\"}\n",
            "spec.sparkConf[\"spark.executor.instances\"] (line 11): '3'; spec.executor.instances is 1 and wins; \
             remove it, or set spec.executor.instances",
        ),
        (
            "  memoryOverheadFactor: \"much\"\n",
            "spec.memoryOverheadFactor (line 11): 'much'; it must be a positive number, written as a text; \
             write \"0.1\", for example",
        ),
        (
            "  dynamicAllocation: {enabled: yes}\n",
            "spec.dynamicAllocation.enabled (line 11): 'yes'; it must be true or false; \
             write true, without quotes: YAML's versions differ about other words",
        ),
        (
            "  dynamicAllocation: {enabled: true, minExecutors: 4, maxExecutors: 2}\n",
            "spec.dynamicAllocation.minExecutors (line 11): 4; maxExecutors is 2, which is less; lower it, or raise maxExecutors",
        ),
        (
            "  volumes: [{name: My_Disk}]\n",
            "spec.volumes[0].name (line 11): 'My_Disk'; it must have at most 63 of a-z, 0-9 and '-', and begin and end with \
             a letter or digit; write my-disk, for example",
        ),
        (
            "  driverIngressOptions: [{servicePort: 1, servicePortName: a, ingressURLFormat: a.b}, \
             {servicePort: 1, servicePortName: b, ingressURLFormat: b.b}]\n",
            "spec.driverIngressOptions[1].servicePort (line 11): 1; another ingress has that port; choose another",
        ),
        (
            "  driverIngressOptions: [{servicePort: 1, servicePortName: a, ingressURLFormat: a.b}, \
             {servicePort: 2, servicePortName: b, ingressURLFormat: a.b}]\n",
            "spec.driverIngressOptions[1].ingressURLFormat (line 11): 'a.b'; another ingress has that URL format; \
             choose another",
        ),
        (
            "  driverIngressOptions: [{servicePort: 1, servicePortName: a}]\n",
            "spec.driverIngressOptions[0].ingressURLFormat (line 11): missing; it is required; add ingressURLFormat",
        ),
        (
            "  monitoring: {exposeDriverMetrics: true}\n",
            "spec.monitoring.exposeExecutorMetrics (line 11): missing; it is required; add exposeExecutorMetrics",
        ),
        (
            "  sparkUIOptions: {servicePort: \"x\"}\n",
            "spec.sparkUIOptions.servicePort (line 11): 'x'; it must be a whole number from 1 to 65535; write 1, for example",
        ),
        (
            "  sparkConf: {spark.kubernetes.namespace: other}\n",
            "spec.sparkConf[\"spark.kubernetes.namespace\"] (line 11): 'other'; the operator takes no other than \
             metadata.namespace, which is default; remove it, or set metadata.namespace",
        ),
    ];
    for (more, expected) in table {
        assert_eq!(only(more), expected);
    }
}

#[test]
fn rules_of_the_driver_and_the_executors() {
    let table = [
        (
            "memory: 1.5g",
            "spec.driver.memory (line 9): '1.5g'; it must be a whole number with one of the letters k, m, g, t (times 1024); \
             write 1536m",
        ),
        (
            "memory: 2Gi",
            "spec.driver.memory (line 9): '2Gi'; it must be a whole number with one of the letters k, m, g, t (times 1024); \
             write 2g",
        ),
        (
            "memory: lots",
            "spec.driver.memory (line 9): 'lots'; it must be a whole number with one of the letters k, m, g, t (times 1024); \
             write 512m or 2g, for example",
        ),
        (
            "memory: 512",
            "spec.driver.memory (line 9): the number 512; it must be a whole number with one of the letters k, m, g, t \
             (times 1024); say which unit, and write it as a text: \"512m\" for MiB",
        ),
        (
            "cores: 0",
            "spec.driver.cores (line 9): the number 0; it must be a whole number, at least 1; write 1, for example",
        ),
        (
            "cores: 0.5",
            "spec.driver.cores (line 9): the number 0.5; it must be a whole number, at least 1; write 1, for example",
        ),
        ("coreLimit: 2", "spec.driver.coreLimit (line 9): the number 2; it must be a text; put it in quotes: \"2\""),
        (
            "coreLimit: 1.2k",
            "spec.driver.coreLimit (line 9): '1.2k'; it must be an amount of CPU: cores, such as \"2\" or \"0.5\", \
             or thousandths with an m; write 1200m for 1.2 cores, for example",
        ),
        (
            "coreRequest: \"2\", coreLimit: 1200m",
            "spec.driver.coreRequest (line 9): '2'; no pod may ask for more than its limit, and coreLimit is '1200m'; \
             lower it, or raise coreLimit",
        ),
        ("podName: \"-\"", "spec.driver.podName (line 9): '-'; it must have one of a-z and 0-9; choose another"),
        (
            "memoryLimit: lots",
            "spec.driver.memoryLimit (line 9): 'lots'; it must be an amount of memory; write 2g or 2Gi, for example",
        ),
        (
            "cores: 2, coreLimit: 1200m",
            "spec.driver.cores (line 9): the number 2; without coreRequest a pod asks for so many cores, and Kubernetes \
             starts none that asks for more than its coreLimit, which is '1200m'; raise coreLimit to \"2000m\", remove it, \
             or set coreRequest",
        ),
        (
            "env: [{name: A, valueFrom: {secretKeyRef: {name: s}}}]",
            "spec.driver.env[0].valueFrom.secretKeyRef.key (line 9): missing; it is required, and a text; \
             write secretKeyRef: and below it name: my-secret and key: KEY, for example",
        ),
        (
            "labels: {a: \"x y\"}",
            "spec.driver.labels[\"a\"] (line 9): 'x y'; a label's value has at most 63 of letters, digits, '-', '_' and '.', \
             a letter or digit first and last; shorten it, or make it an annotation",
        ),
        (
            "env: [{value: x}]",
            "spec.driver.env[0] (line 9): no name; a variable needs a name, which is a text; \
             write - name: MODE and below it value: fast, for example",
        ),
        (
            "env: [x]",
            "spec.driver.env[0] (line 9): a text; a variable is a mapping of name and value; \
             write - name: MODE and below it value: fast, for example",
        ),
        (
            "env: [{name: 1a, value: x}]",
            "spec.driver.env[0].name (line 9): '1a'; a variable's name has letters, digits, '_', '-' and '.', \
             and does not begin with a digit; choose another",
        ),
        (
            "env: [{name: PIN, value: 1234}]",
            "spec.driver.env[0].value (line 9): a number; a variable's value must be a text; put it in quotes",
        ),
        (
            "env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            "spec.driver.env[0] (line 9): both value and valueFrom; a variable has one of them; remove one",
        ),
        (
            "envFrom: [{secretRef: {name: a}, configMapRef: {name: b}}]",
            "spec.driver.envFrom[0] (line 9): both secretRef and configMapRef; a source names one secret or one config map; \
             write - secretRef: and below it name: my-secret, for example",
        ),
        (
            "envFrom: [{secretRef: {}}]",
            "spec.driver.envFrom[0].secretRef.name (line 9): missing; the secret or config map has a name; \
             write - secretRef: and below it name: my-secret, for example",
        ),
        (
            "volumeMounts: [{name: disk, mountPath: /d}]",
            "spec.driver.volumeMounts[0].name (line 9): 'disk'; no volume in spec.volumes has that name; \
             add a volume named disk there",
        ),
        (
            "secrets: [{name: a, path: /x}]",
            "spec.driver.secrets[0].secretType (line 9): missing; it is required; add secretType",
        ),
        (
            "tolerations: {}",
            "spec.driver.tolerations (line 9): a mapping; it must be a list; write each item after a dash",
        ),
    ];
    for (fields, expected) in table {
        let text = SMALL.replace("driver: {cores: 1}", &format!("driver: {{{fields}}}"));
        let problems = Manifest::read(&text).unwrap().validate();
        assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn rules_of_the_whole() {
    let table = [
        (
            "sparkoperator.k8s.io/v1beta2",
            "v1",
            "apiVersion (line 1): 'v1'; it must be sparkoperator.k8s.io/v1beta2; write sparkoperator.k8s.io/v1beta2",
        ),
        (
            "kind: SparkApplication",
            "kind: ScheduledSparkApplication",
            "kind (line 2): 'ScheduledSparkApplication'; it must be SparkApplication; \
             take what stands under its spec.template for a manifest of its own",
        ),
        (
            "name: job",
            "name: 1_Job",
            "metadata.name (line 4): '1_Job'; it must have at most 63 of a-z, 0-9 and '-', begin with a letter and end with \
             a letter or digit; write job, for example",
        ),
        (
            "name: job",
            "labels: {}",
            "metadata.name (line 4): missing; it is required; give the job a name: metadata: {name: spark-job-1}",
        ),
        (
            "type: Python",
            "type: python",
            "spec.type (line 6): 'python'; it must be one of Python, Scala, Java, R; write Python",
        ),
        ("  type: Python\n", "", "spec.type (line 6): missing; it is required; write type: Python, for example"),
        (
            "type: Python",
            "type: Scala",
            "spec.mainApplicationFile (line 8): 'local:///app/job.py'; spec.type is Scala, and a file that ends in .py is Python; \
             set spec.type to Python, or name another file",
        ),
        (
            "  driver: {cores: 1}\n",
            "",
            "spec.driver (line 6): missing; it is required; write its settings, such as cores: 1 and memory: 512m",
        ),
        (
            "\"4.3.0\"",
            "4.3",
            "spec.sparkVersion (line 7): the number 4.3; it must be a text; put it in quotes: \"4.3\"",
        ),
    ];
    for (old, new, expected) in table {
        let problems = Manifest::read(&SMALL.replacen(old, new, 1)).unwrap().validate();
        assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [expected]);
    }
    let long = Manifest::default_for(&"a".repeat(64)).validate();
    assert!(long[0].to_string().contains("(64 characters)"), "{}", long[0]);
    assert_eq!(Manifest::default_for(&"a".repeat(63)).validate(), []);
    let both = small("  nodeSelector: {a: b}\n").to_yaml().replace("cores: 1", "nodeSelector: {a: b}");
    assert!(Manifest::read(&both).unwrap().validate()[0].to_string().contains("not in both; remove spec.nodeSelector"));
    let old = SMALL.replace("4.3.0", "2.4.5").replace("cores: 1", "template: {}");
    assert!(
        Manifest::read(&old).unwrap().validate()[0].to_string().contains("pod templates need Spark 3.0.0 or later")
    );
    assert_eq!(Manifest::read("{}").unwrap().validate().len(), 4);
    let undated = SMALL.replace("4.3.0", "latest").replace("cores: 1", "template: {}");
    assert_eq!(Manifest::read(&undated).unwrap().validate().len(), 1);
    let many = format!("{SMALL}  arguments: [{}]\n", "1,".repeat(10_000));
    assert_eq!(Manifest::read(&many).unwrap().validate().len(), 50);
}

/// What published manifests have, and the operator takes.
#[test]
fn what_the_operator_takes_breaks_no_rule() {
    for more in [
        "  arguments: [\"\"]\n",
        "  arguments: []\n",
        "  mainClass: \"\"\n",
        "  image: \"\"\n",
        "  sparkConf: {spark.kubernetes.driver.pod.name: p, spark.submit.deployMode: cluster, a: ~, b: \"\"}\n",
        "  sparkConf: {spark.kubernetes.driver.podTemplateFile: /t.yaml, spark.kubernetes.executor.podTemplateFile: /t.yaml}\n",
        "  sparkConf: {spark.kubernetes.namespace: default}\n",
        "  driverPodDisruptionBudget: true\n",
        "  timeToLiveSeconds: -1\n",
        "  retryInterval: 0\n",
        "  monitoring: {exposeDriverMetrics: true, exposeExecutorMetrics: false, prometheus: {jmxExporterJar: /x.jar}}\n",
        "  dynamicAllocation: {enabled: false, minExecutors: 4, maxExecutors: 2}\n",
    ] {
        assert_eq!(small(more).validate(), [], "{more}");
        assert_eq!(small(more).likely_typos(), [], "{more}");
    }
    for fields in [
        "javaOptions: \"\"",
        "podName: mine",
        "memoryOverhead: 0m",
        "memoryOverhead: \"384\"",
        "memoryLimit: 2Gi",
        "memoryLimit: 2g",
        "cores: 2, coreRequest: 500m, coreLimit: 1200m",
        "env: [{name: A, value: \"\", valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
        "envFrom: [{secretRef: ~, configMapRef: {name: a}, prefix: \"\"}]",
        "template: {spec: {volumes: [{name: v}]}}, volumeMounts: [{name: v, mountPath: /v}]",
    ] {
        let text = SMALL.replace("driver: {cores: 1}", &format!("driver: {{{fields}}}"));
        let manifest = Manifest::read(&text).unwrap();
        assert_eq!((manifest.validate(), manifest.likely_typos()), (vec![], vec![]), "{fields}");
    }
}

#[test]
fn more_cores_than_the_limit_are_a_warning() {
    let mut manifest = Manifest::default_for("job");
    manifest.set_settings(Part::Executor, settings("{cores: 2}")).unwrap();
    assert_eq!(manifest.validate(), [], "the default manifest has no limit to walk into");
    manifest.set_settings(Part::Executor, settings("{coreLimit: 1200m}")).unwrap();
    let problems = manifest.validate();
    assert!(matches!(problems.as_slice(), [problem] if problem.is_harmless), "{problems:?}");
}

#[test]
fn slips_are_told_and_newer_fields_are_not() {
    let text = SMALL.replace("cores: 1", "coreLimt: 1200m, somethingNew: 1, memory_overhead: 1m");
    let slips = Manifest::read(&text).unwrap().likely_typos();
    let slips: Vec<_> = slips.iter().map(|slip| (slip.path.as_str(), slip.nearest)).collect();
    assert_eq!(
        slips,
        [("spec.driver.coreLimt", Some("coreLimit")), ("spec.driver.memory_overhead", Some("memoryOverhead"))]
    );
}

#[test]
fn settings_are_merged_key_by_key() {
    let mut manifest = small("");
    let unknown =
        manifest.set_settings(Part::Executor, settings("{memory: 1g, coreLimit: 2, memry: 1g, zzz: 1}")).unwrap();
    assert_eq!(
        unknown,
        [
            UnknownKey { path: "spec.executor.memry".to_owned(), nearest: Some("memory") },
            UnknownKey { path: "spec.executor.zzz".to_owned(), nearest: None },
        ]
    );
    let unknown = manifest.set_settings(Part::Executor, settings("{memry: ~, zzz: null, instances: 2}")).unwrap();
    assert_eq!(unknown.len(), 2);
    assert!(manifest.to_yaml().ends_with("executor:\n    instances: 2\n    memory: 1g\n    coreLimit: \"2\"\n"));
    manifest.set_spark_conf(&settings("{a.b: 1, c: true, d: x}")).unwrap();
    manifest.set_spark_conf(&settings("{c: ~, d: y}")).unwrap();
    assert!(manifest.to_yaml().ends_with("sparkConf:\n    a.b: \"1\"\n    d: y\n"));
    assert!(manifest.set_spark_conf(&settings("{a: [1]}")).unwrap_err().to_string().contains("not a list"));
    assert_eq!(manifest.validate(), []);
}

#[test]
fn lists_are_replaced_or_extended() {
    let mut manifest = small("");
    let texts = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    manifest.set_deps(Deps::Jars, &texts(&["a", "b"])).unwrap();
    manifest.add_deps(Deps::Jars, &texts(&["b", "c", "c"])).unwrap();
    manifest.add_deps(Deps::Packages, &texts(&["g:a:1"])).unwrap();
    manifest
        .add_env(
            Part::Driver,
            settings("e: [{name: A, value: 1}, {name: B, value: x}]").get("e").unwrap().as_sequence().unwrap().clone(),
        )
        .unwrap();
    manifest
        .add_env(Part::Driver, settings("e: [{name: A, value: z}]").get("e").unwrap().as_sequence().unwrap().clone())
        .unwrap();
    let source = settings("e: [{secretRef: {name: s}}]").get("e").unwrap().as_sequence().unwrap().clone();
    manifest.add_env_from(Part::Driver, source.clone()).unwrap();
    manifest.add_env_from(Part::Driver, source).unwrap();
    assert_eq!(
        manifest.to_yaml().split_once("  driver:\n").unwrap().1,
        "    cores: 1\n    env:\n      - name: A\n        value: z\n      - name: B\n        value: x\n    envFrom:\n      \
         - secretRef:\n          name: s\n  executor:\n    instances: 1\n  deps:\n    jars:\n      - a\n      - b\n      - c\n    \
         packages:\n      - g:a:1\n"
    );
    assert!(manifest.add_env(Part::Driver, vec![Node::text("x")]).is_err());
    assert!(manifest.add_env_from(Part::Driver, vec![Node::mapping()]).is_err());
    let mut odd = small("  deps: {jars: x}\n");
    assert_eq!(
        odd.add_deps(Deps::Jars, &texts(&["a"])).unwrap_err().to_string(),
        "spec.deps.jars (line 11): this is a text, and a list was expected: mend the manifest first"
    );
}

#[test]
fn amounts() {
    let memory = |text: &str| text.parse::<Memory>().map(|memory| memory.bytes);
    assert_eq!(memory("512m"), Ok(512 << 20));
    assert_eq!(memory("1G"), Ok(1 << 30));
    assert_eq!(memory("1gb"), Ok(1 << 30));
    assert_eq!(memory("7"), Ok(7 << 20));
    assert_eq!(memory("0m"), Ok(0));
    for text in ["", "-1g", "1.5g", "1Gi", "g", "1x", "99999999999p", "1 g", "..", "1i"] {
        assert!(memory(text).is_err(), "{text}");
    }
    let cpu = |text: &str| text.parse::<Cpu>().map(|cpu| cpu.millis);
    assert_eq!(cpu("1200m"), Ok(1200));
    assert_eq!(cpu("0.5"), Ok(500));
    assert_eq!(cpu("2"), Ok(2000));
    for text in ["", "0", "0m", "m", "-1", "1.2345", "1.", ".5", "1g", "99999999999999999999"] {
        assert!(cpu(text).is_err(), "{text}");
    }
}
