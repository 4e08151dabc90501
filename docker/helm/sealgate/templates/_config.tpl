{{/* The configuration, and what follows from it: ports, processes, times. */}}
{{- define "sealgate.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{- default (printf "%s-tls" (include "sealgate.fullname" .)) .Values.tls.secretName -}}
{{- else -}}
{{- .Values.tls.secretName -}}
{{- end -}}
{{- end -}}

{{/* As JSON, for fromJson: the values with what the chart sets. */}}
{{- define "sealgate.config" -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
{{- $listen := dict "host" (ternary "127.0.0.1" "0.0.0.0" $sidecar) "port" 9000 -}}
{{- if include "sealgate.tlsSecret" . -}}
{{- $tls := dict "cert" "/etc/sealgate/tls/tls.crt" "key" "/etc/sealgate/tls/tls.key" -}}
{{- if .Values.tls.clientCa -}}
{{- $_ := set $tls "clientCa" (printf "/etc/sealgate/client-ca/%s" (default "ca.crt" .Values.tls.clientCa.key)) -}}
{{- end -}}
{{- $_ := set $listen "tls" $tls -}}
{{- else if .Values.tls.clientCa -}}
{{- fail "tls.clientCa needs tls.secretName or tls.certManager" -}}
{{- end -}}
{{- $config := mergeOverwrite (dict "listen" $listen "admin" (dict "host" "0.0.0.0" "port" 9001)) (deepCopy .Values.config) -}}
{{- $loopbacks := list "127.0.0.1" "::1" "localhost" -}}
{{- if has $config.admin.host $loopbacks -}}
{{- fail "config.admin.host: the kubelet probes from outside of the pod, and the monitoring reads there" -}}
{{- end -}}
{{- $loopback := has $config.listen.host $loopbacks -}}
{{- if not (or $config.listen.tls $config.listen.allowPlainBeyondLoopback $loopback) -}}
{{- fail "the listener needs tls.secretName, tls.certManager.enabled, or config.listen.allowPlainBeyondLoopback: true where something else protects the network" -}}
{{- end -}}
{{- if and $loopback (not $sidecar) -}}
{{- fail "config.listen.host is an address that no service reaches: leave it out, or set mode: sidecar" -}}
{{- end -}}
{{- range list $config.listen.port $config.admin.port -}}
{{- if not (regexMatch "^[1-9][0-9]{3,4}$" (toString .)) -}}
{{- fail "config.listen.port and config.admin.port must be numbers from 1024 on: the gateway has no right to use a lower one" -}}
{{- end -}}
{{- end -}}
{{- if not (or .Values.config.upstream .Values.config.upstreams) -}}
{{- fail "config.upstream or config.upstreams must say where the store is" -}}
{{- end -}}
{{- range list "config" "tls" "client-ca" "token" -}}
{{- if hasKey $.Values.files . -}}
{{- fail (printf "files: %s is a folder of the chart" .) -}}
{{- end -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/* The file in the ConfigMap. */}}
{{- define "sealgate.configFile" -}}
{{- include "sealgate.config" . | fromJson | toYaml -}}
{{- end -}}

{{- define "sealgate.workers" -}}
{{- .Values.config.workers | default 1 | toString -}}
{{- end -}}

{{/* Seconds of an option of config.limits, rounded up. The option is there, a time as the configuration writes it. */}}
{{- define "sealgate.seconds" -}}
{{- $written := get .limits .option | toString -}}
{{- $text := $written | trim | lower -}}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)? ?(ms|s|m|h|d)?$" $text) -}}
{{- fail (printf "config.limits.%s: %s is no time such as 25, 250ms, 5s or 2m" .option $written) -}}
{{- end -}}
{{- $factor := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0) (regexFind "[a-z]+$" $text | default "s") -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) $factor | ceil | int -}}
{{- end -}}

{{/* From SIGTERM on: limits.drainSeconds, limits.graceSeconds, 10 s in which the first process waits for a worker that hangs, and 5 to spare. */}}
{{- define "sealgate.stopSeconds" -}}
{{- $limits := .Values.config.limits | default dict -}}
{{- $grace := 25 -}}
{{- if hasKey $limits "graceSeconds" -}}
{{- $grace = include "sealgate.seconds" (dict "limits" $limits "option" "graceSeconds") | int -}}
{{- end -}}
{{- $drain := 0 -}}
{{- if hasKey $limits "drainSeconds" -}}
{{- $drain = include "sealgate.seconds" (dict "limits" $limits "option" "drainSeconds") | int -}}
{{- end -}}
{{- $workers := ternary 0 10 (eq (include "sealgate.workers" .) "1") -}}
{{- add $drain $grace $workers 5 -}}
{{- end -}}

{{- define "sealgate.resources" -}}
{{- if .Values.resources -}}
{{- toYaml .Values.resources -}}
{{- else -}}
{{- $workers := include "sealgate.workers" . -}}
{{- if not (regexMatch "^[0-9]+$" $workers) -}}
{{- fail "config.workers: auto needs resources: how many there will be is not known here" -}}
{{- end -}}
{{- $processes := ternary 1 (add1 (int $workers)) (eq $workers "1") -}}
requests:
  cpu: {{ $workers | quote }}
  memory: {{ mul $processes 256 }}Mi
limits:
  memory: {{ mul $processes 512 }}Mi
{{- end -}}
{{- end -}}

{{/* Ports of the servers that the configuration names, as a list in JSON. */}}
{{- define "sealgate.serverPorts" -}}
{{- $addresses := list -}}
{{- $upstreams := .Values.config.upstreams | default dict -}}
{{- if .Values.config.upstream -}}
{{- $upstreams = dict "default" .Values.config.upstream -}}
{{- end -}}
{{- range $upstreams -}}
{{- $addresses = append $addresses .endpoint -}}
{{- if .credentials -}}
{{- $addresses = append $addresses "https://sts" -}}
{{- end -}}
{{- end -}}
{{- range .Values.config.keys -}}
{{- if has .type (list "aws-kms" "gcp-kms" "azure-key-vault") -}}
{{- $addresses = append $addresses "https://service" -}}
{{- end -}}
{{- range list .endpoint .address -}}
{{- if kindIs "slice" . -}}
{{- $addresses = concat $addresses . -}}
{{- else if . -}}
{{- $addresses = append $addresses . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range (.Values.config.audit | default dict).sinks -}}
{{- $addresses = append $addresses .url -}}
{{- end -}}
{{- $ports := list -}}
{{- range $addresses -}}
{{- if hasPrefix "unix:" . -}}
{{- else -}}
{{- $protocol := ternary "UDP" "TCP" (hasPrefix "udp:" .) -}}
{{- $port := regexFind ":[0-9]+/?$" (regexReplaceAll "^(\\w+://[^/?]*).*$" . "${1}") | trimAll ":/" -}}
{{- if not $port -}}
{{- $port = ternary "80" "443" (hasPrefix "http:" .) -}}
{{- end -}}
{{- $ports = append $ports (dict "port" (int $port) "protocol" $protocol) -}}
{{- end -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}
