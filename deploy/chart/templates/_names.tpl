{{/* Names, labels and the reference of the image. */}}

{{- define "fanbridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Pods carry the name with a number, and hooks with a suffix: 52 bytes leave room for both. */}}
{{- define "fanbridge.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a pod of this release has, whatever it is for. */}}
{{- define "fanbridge.releaseLabels" -}}
app.kubernetes.io/name: {{ include "fanbridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The pods of the bridge, and not those of hooks. A selector cannot be changed: it names no version. */}}
{{- define "fanbridge.selectorLabels" -}}
{{ include "fanbridge.releaseLabels" . }}
app.kubernetes.io/component: bridge
{{- end -}}

{{/* Labels of an object: (dict "root" $ "component" "bridge"). */}}
{{- define "fanbridge.labels" -}}
{{- $own := fromYaml (include "fanbridge.releaseLabels" .root) -}}
{{- $_ := set $own "app.kubernetes.io/component" .component -}}
{{- $_ := set $own "app.kubernetes.io/version" (.root.Chart.AppVersion | replace "+" "_" | trunc 63) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version -}}
{{- $_ := set $own "helm.sh/chart" ($chart | replace "+" "_" | trunc 63) -}}
{{- mergeOverwrite (deepCopy .root.Values.commonLabels) $own | toYaml -}}
{{- end -}}

{{- define "fanbridge.image" -}}
{{- $repository := required (printf "%s %s" "image.repository is required: name where your copy of the"
      "image is, such as --set image.repository=registry.example/fanbridge") .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- if .Values.image.tag -}}
{{- printf "%s:%s@%s" $repository .Values.image.tag .Values.image.digest -}}
{{- else -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- end -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "fanbridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fanbridge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The Secret that is mounted: one that exists, or that the External Secrets Operator makes. */}}
{{- define "fanbridge.secretName" -}}
{{- if .Values.secrets.existingSecret -}}
{{- .Values.secrets.existingSecret -}}
{{- else if .Values.secrets.externalSecret.enabled -}}
{{- include "fanbridge.fullname" . -}}
{{- else -}}
{{- printf "%s %s" "secrets.existingSecret is required: make a Secret with the signing secrets and an admin"
      "token (docs/DEPLOYING.md), or enable secrets.externalSecret" | fail -}}
{{- end -}}
{{- end -}}
