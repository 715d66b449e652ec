{{/* The pod of the bridge, and what the pods of hooks share with it. */}}

{{/* What stops rendering because it would lose events or could never work. */}}
{{- define "fanbridge.validate" -}}
{{- $unawaited := (fromYaml (include "fanbridge.unawaited" .)).names -}}
{{- if and (eq .Values.kind "Deployment") $unawaited -}}
{{- printf "%s %s. %s" "kind Deployment keeps events on an emptyDir, which is lost with its pod, and nothing"
      (printf "says that a sink has them before they are acknowledged: %s" (join ", " $unawaited))
      "Name sinks in config.ack.after (and in each source's own ack), or use kind StatefulSet" | fail -}}
{{- end -}}
{{- $closed := and .Values.networkPolicy.enabled (not .Values.networkPolicy.adminFrom) -}}
{{- if and .Values.serviceMonitor.enabled $closed -}}
{{- printf "%s %s" "serviceMonitor.enabled: the network policy would keep Prometheus out; name it in"
      "networkPolicy.adminFrom, or set networkPolicy.enabled=false" | fail -}}
{{- end -}}
{{- $keys := .Values.secrets -}}
{{- if and .Values.serviceMonitor.enabled (eq $keys.metricsTokenKey $keys.adminTokenKey) -}}
{{- printf "secrets.metricsTokenKey and secrets.adminTokenKey are both %s: %s" $keys.adminTokenKey
      "Prometheus would hold the admin token; name a key with another token" | fail -}}
{{- end -}}
{{- include "fanbridge.refuseOtherSize" . -}}
{{- include "fanbridge.refuseToLeaveVolumes" . -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts is required with ingress.enabled: name the hosts to which providers deliver" -}}
{{- end -}}
{{- $external := .Values.secrets.externalSecret -}}
{{- if and $external.enabled .Values.secrets.existingSecret -}}
{{- fail "secrets.existingSecret and secrets.externalSecret.enabled exclude each other: keep one of them" -}}
{{- end -}}
{{- if and $external.enabled (not $external.secretStoreRef.name) -}}
{{- fail "secrets.externalSecret.secretStoreRef.name is required: name the store that has the secrets" -}}
{{- end -}}
{{- if and $external.enabled (not $external.data) (not $external.dataFrom) -}}
{{- fail "secrets.externalSecret needs data or dataFrom: say which secrets are fetched" -}}
{{- end -}}
{{- end -}}

{{/* Kubernetes would refuse another size only after the configuration that goes with it is there. */}}
{{- define "fanbridge.refuseOtherSize" -}}
{{- $installed := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "fanbridge.fullname" .) -}}
{{- if and $installed (eq .Values.kind "StatefulSet") -}}
{{- $size := (first $installed.spec.volumeClaimTemplates).spec.resources.requests.storage -}}
{{- if ne (include "fanbridge.mebibytes" $size) (include "fanbridge.mebibytes" .Values.persistence.size) -}}
{{- printf "persistence.size: the installed StatefulSet asks for %s and cannot be changed to %s. %s" $size
      .Values.persistence.size "docs/DEPLOYING.md says how to get there: A larger volume" | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A Deployment would not mount the volumes of the StatefulSet, on which events may wait. */}}
{{- define "fanbridge.refuseToLeaveVolumes" -}}
{{- $name := include "fanbridge.fullname" . -}}
{{- $installed := lookup "apps/v1" "StatefulSet" .Release.Namespace $name -}}
{{- if and $installed (eq .Values.kind "Deployment") -}}
{{- if gt (int $installed.spec.replicas) 0 -}}
{{- printf "kind Deployment: nothing would read the volumes of the StatefulSet %s, where events may wait. %s"
      $name (printf "%s `kubectl -n %s scale statefulset %s --replicas 0`, then upgrade again"
      "When no sink has a lag, run" .Release.Namespace $name) | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Volumes with what the configuration refers to: (dict "root" $ "config" NAME-OF-CONFIGMAP). */}}
{{- define "fanbridge.volumes" -}}
- name: config
  configMap:
    name: {{ .config }}
- name: secrets
  secret:
    secretName: {{ include "fanbridge.secretName" .root }}
    defaultMode: 0440
{{- with .root.Values.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The whole directory is mounted, because a single file (subPath) would never change. */}}
{{- define "fanbridge.mounts" -}}
- { name: config, mountPath: /etc/fanbridge, readOnly: true }
- { name: secrets, mountPath: /run/secrets/fanbridge, readOnly: true }
{{- if .Values.tls.existingSecret }}
- { name: tls, mountPath: /run/secrets/fanbridge-tls, readOnly: true }
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Image, environment and rights of a container. */}}
{{- define "fanbridge.container" -}}
image: {{ include "fanbridge.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [/usr/bin/fanbridge]
env:
  - { name: FANBRIDGE_CONFIG, value: /etc/fanbridge/fanbridge.yaml }
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{/* A hook's container: one verb of the bridge. A namespace with a quota has to know what it takes. */}}
{{- define "fanbridge.hookContainer" -}}
{{ include "fanbridge.container" . }}
resources:
  requests: { cpu: 50m, memory: 64Mi }
  limits: { memory: 256Mi }
volumeMounts:
  {{- include "fanbridge.mounts" . | nindent 2 }}
{{- end -}}

{{/* Who runs a pod and where it can. */}}
{{- define "fanbridge.podSettings" -}}
serviceAccountName: {{ include "fanbridge.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "fanbridge.spread" -}}
{{- if kindIs "slice" .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- else -}}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "fanbridge.selectorLabels" $ | nindent 6 }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A probe of the admin listener: (dict "path" PATH "timing" MAP). It needs no token. */}}
{{- define "fanbridge.probe" -}}
httpGet: { path: {{ .path }}, port: admin }
{{ toYaml .timing }}
{{- end -}}

{{- define "fanbridge.podTemplate" -}}
metadata:
  labels:
    {{- $labels := fromYaml (include "fanbridge.labels" (dict "root" . "component" "bridge")) }}
    {{- $fixed := fromYaml (include "fanbridge.selectorLabels" .) }}
    {{- $own := mergeOverwrite (omit $labels "helm.sh/chart") $fixed }}
    {{- mergeOverwrite (deepCopy .Values.podLabels) $own | toYaml | nindent 4 }}
  annotations:
    {{- $checksum := dict "fanbridge/config" (include "fanbridge.configChecksum" .) }}
    {{- mergeOverwrite (deepCopy .Values.podAnnotations) $checksum | toYaml | nindent 4 }}
spec:
  {{- include "fanbridge.podSettings" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ add .Values.stop.delaySeconds .Values.stop.graceSeconds 10 }}
  {{- with include "fanbridge.spread" . | trim }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: fanbridge
      {{- include "fanbridge.container" . | nindent 6 }}
      args: [run, --config, /etc/fanbridge/fanbridge.yaml]
      ports:
        - { name: http, containerPort: 8080 }
        - { name: admin, containerPort: 9090 }
      startupProbe:
        {{- include "fanbridge.probe" (dict "path" "/startupz" "timing" .Values.probes.startup) | nindent 8 }}
      livenessProbe:
        {{- include "fanbridge.probe" (dict "path" "/livez" "timing" .Values.probes.liveness) | nindent 8 }}
      readinessProbe:
        {{- include "fanbridge.probe" (dict "path" "/readyz" "timing" .Values.probes.readiness) | nindent 8 }}
      {{- if .Values.stop.delaySeconds }}
      lifecycle:
        preStop: { sleep: { seconds: {{ .Values.stop.delaySeconds }} } }
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - { name: data, mountPath: /var/lib/fanbridge }
        {{- include "fanbridge.mounts" . | nindent 8 }}
  volumes:
    {{- include "fanbridge.volumes" (dict "root" . "config" (include "fanbridge.fullname" .)) | nindent 4 }}
    {{- if eq .Values.kind "Deployment" }}
    - name: data
      emptyDir:
        sizeLimit: {{ .Values.ephemeral.size }}
    {{- end }}
{{- end -}}
