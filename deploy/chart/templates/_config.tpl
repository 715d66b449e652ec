{{/* The configuration as the bridge gets it, and what of it the chart has to know. */}}

{{/* MiB of a quantity such as 20Gi. */}}
{{- define "fanbridge.mebibytes" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- if hasSuffix "Ti" . -}}{{ mul $number 1048576 }}
{{- else if hasSuffix "Gi" . -}}{{ mul $number 1024 }}
{{- else -}}{{ $number }}
{{- end -}}
{{- end -}}

{{/* What fits the volume: a file system keeps a twentieth for itself, and free_bytes_min is 1 GiB. */}}
{{- define "fanbridge.bytesMax" -}}
{{- $volume := ternary .Values.persistence.size .Values.ephemeral.size (eq .Values.kind "StatefulSet") -}}
{{- $left := sub (div (mul (include "fanbridge.mebibytes" $volume) 95) 100) 1024 -}}
{{- if lt $left 512 -}}
{{- printf "a volume of %s is too small: take 2Gi or more, or set config.spool.bytes_max and %s" $volume
      "config.spool.free_bytes_min to what fits it" | fail -}}
{{- end -}}
{{- printf "%d MiB" $left -}}
{{- end -}}

{{/* Keys that the chart sets, with the value that sets them. */}}
{{- define "fanbridge.refuseOwnKeys" -}}
{{- $config := .Values.config -}}
{{- $own := list
      (list "http" "listen" "the public port is 8080; see service.port")
      (list "admin" "listen" "the admin port is 9090")
      (list "admin" "token" "see secrets.adminTokenKey")
      (list "spool" "dir" "it is on the volume; see persistence") -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- $own = append $own (list "admin" "metrics_token" "see secrets.metricsTokenKey") -}}
{{- end -}}
{{- range $own -}}
{{- if hasKey (default dict (get $config (index . 0))) (index . 1) -}}
{{- printf "config.%s.%s is set by the chart: take it out (%s)" (index . 0) (index . 1) (index . 2) | fail -}}
{{- end -}}
{{- end -}}
{{- if hasKey $config "shutdown_grace_seconds" -}}
{{- fail "config.shutdown_grace_seconds is set by the chart: set stop.graceSeconds instead" -}}
{{- end -}}
{{- if hasKey $config "reload_on_change" -}}
{{- fail "config.reload_on_change is set by the chart: set configChange instead" -}}
{{- end -}}
{{- if not $config.sources -}}
{{- fail "config.sources is required: the configuration has no source, so nothing could come in" -}}
{{- end -}}
{{- end -}}

{{/* A secret that was pasted would lie in a ConfigMap and in Helm's release, also where the bridge refuses it
     later: (dict "at" PATH "key" KEY "value" VALUE). The message does not repeat it. */}}
{{- define "fanbridge.refusePlainSecrets" -}}
{{- $here := . -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- $at := printf "%s.%s" $here.at $key -}}
{{- $meant := ternary $here.key $key (eq $here.at "config.traces.headers") -}}
{{- include "fanbridge.refusePlainSecrets" (dict "at" $at "key" $meant "value" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $number, $value := .value -}}
{{- $at := printf "%s[%d]" $here.at $number -}}
{{- include "fanbridge.refusePlainSecrets" (dict "at" $at "key" $here.key "value" $value) -}}
{{- end -}}
{{- else if and .value (regexMatch "(^|[._])(secrets?|password|token|redis|headers|pem)$" .key)
      (not (regexMatch "^(env|file|aws-sm|aws-ssm):" (toString .value))) -}}
{{- printf "%s is a secret in plain text: write where it is, such as file:/run/secrets/fanbridge/NAME" .at
      | fail -}}
{{- end -}}
{{- end -}}

{{/* The names by which the admin listener is asked within the cluster. */}}
{{- define "fanbridge.adminHosts" -}}
{{- $service := printf "%s-pods" (include "fanbridge.fullname" .) -}}
{{- $namespace := .Release.Namespace -}}
{{- list $service (printf "%s.%s" $service $namespace) (printf "%s.%s.svc" $service $namespace)
      (printf "%s.%s.svc.cluster.local" $service $namespace) | toYaml -}}
{{- end -}}

{{- define "fanbridge.config" -}}
{{- include "fanbridge.refuseOwnKeys" . -}}
{{- range $part, $value := pick .Values.config "admin" "sources" "sinks" "spool" "traces" -}}
{{- include "fanbridge.refusePlainSecrets" (dict "at" (printf "config.%s" $part) "key" "" "value" $value) -}}
{{- end -}}
{{- $config := deepCopy .Values.config -}}
{{- $admin := default dict $config.admin -}}
{{- $hosts := concat (fromYamlArray (include "fanbridge.adminHosts" .)) (default list $admin.hosts) | uniq -}}
{{- $admin = mergeOverwrite $admin (dict "listen" "0.0.0.0:9090" "hosts" $hosts
      "token" (printf "file:/run/secrets/fanbridge/%s" .Values.secrets.adminTokenKey)) -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- $_ := set $admin "metrics_token" (printf "file:/run/secrets/fanbridge/%s"
      .Values.secrets.metricsTokenKey) -}}
{{- end -}}
{{- $http := mergeOverwrite (default dict $config.http) (dict "listen" "0.0.0.0:8080") -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $http "tls" (dict "certificate" "/run/secrets/fanbridge-tls/tls.crt"
      "key" "/run/secrets/fanbridge-tls/tls.key") -}}
{{- end -}}
{{- $spool := default dict $config.spool -}}
{{- $_ := set $spool "dir" "/var/lib/fanbridge/spool" -}}
{{- if not (hasKey $spool "bytes_max") -}}
{{- $_ := set $spool "bytes_max" (include "fanbridge.bytesMax" .) -}}
{{- end -}}
{{- $limits := default dict $config.limits -}}
{{- if and .Values.ingress.enabled (not (hasKey $limits "connections_per_address_max")) -}}
{{- /* Behind a proxy all connections come from a few addresses. */ -}}
{{- $_ := set $limits "connections_per_address_max" (default 4096 $limits.connections_max) -}}
{{- $_ := set $config "limits" $limits -}}
{{- end -}}
{{- $own := dict "admin" $admin "http" $http "spool" $spool -}}
{{- $_ := set $own "shutdown_grace_seconds" .Values.stop.graceSeconds -}}
{{- if eq .Values.configChange "reload" -}}
{{- $_ := set $own "reload_on_change" true -}}
{{- end -}}
{{- mergeOverwrite $config $own | toYaml -}}
{{- end -}}

{{/* The sinks that some source's acknowledgement waits for, as {"names": […]}. */}}
{{- define "fanbridge.awaited" -}}
{{- $everybodys := default list (default dict .Values.config.ack).after -}}
{{- $names := $everybodys -}}
{{- range $source := .Values.config.sources -}}
{{- $names = concat $names (default list (default dict $source.ack).after) -}}
{{- end -}}
{{- dict "names" ($names | uniq | sortAlpha) | toYaml -}}
{{- end -}}

{{/* The sources whose acknowledged events can be on the pod's disk alone, as {"names": […]}. */}}
{{- define "fanbridge.unawaited" -}}
{{- $everybodys := default dict .Values.config.ack -}}
{{- $names := list -}}
{{- range $name, $source := .Values.config.sources -}}
{{- if not (default $everybodys $source.ack).after -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- dict "names" ($names | sortAlpha) | toYaml -}}
{{- end -}}

{{/* The sinks that the acknowledgement of some source does not wait for, as {"names": […]}. */}}
{{- define "fanbridge.unawaitedSinks" -}}
{{- $everybodys := default dict .Values.config.ack -}}
{{- $names := list -}}
{{- range $source := .Values.config.sources -}}
{{- $after := default list (default $everybodys $source.ack).after -}}
{{- range $sink, $_ := $.Values.config.sinks -}}
{{- if not (has $sink $after) -}}
{{- $names = append $names $sink -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "names" ($names | uniq | sortAlpha) | toYaml -}}
{{- end -}}

{{/* What replaces the pods when it changes: the configuration, or what no running bridge takes over. */}}
{{- define "fanbridge.configChecksum" -}}
{{- $config := fromYaml (include "fanbridge.config" .) -}}
{{- if eq .Values.configChange "reload" -}}
{{- $awaited := (fromYaml (include "fanbridge.awaited" .)).names -}}
{{- $sinks := dict -}}
{{- range $awaited -}}
{{- $_ := set $sinks . (get (default dict $config.sinks) .) -}}
{{- end -}}
{{- $fixed := pick $config "http" "admin" "limits" "spool" "timeline" "traces" "aws"
      "shutdown_grace_seconds" -}}
{{- dict "fixed" $fixed "awaited" $sinks | toJson | sha256sum -}}
{{- else -}}
{{- $config | toJson | sha256sum -}}
{{- end -}}
{{- end -}}
