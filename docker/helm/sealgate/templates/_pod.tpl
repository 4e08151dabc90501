{{/* What all pods of the chart have in common. */}}
{{- define "sealgate.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "sealgate.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: ["ALL"] }
{{- end -}}

{{- define "sealgate.configPath" -}}
/etc/sealgate/config/sealgate.yaml
{{- end -}}

{{/* Of a map as values.files: volumes that show existing Secrets and ConfigMaps. */}}
{{- define "sealgate.fileVolumes" -}}
{{- range $name, $source := . }}
- name: {{ $name }}
  {{- if $source.secret }}
  secret:
    secretName: {{ $source.secret }}
    # 0440, in a form that YAML 1.1 and 1.2 read alike.
    defaultMode: 288
  {{- else }}
  configMap:
    name: {{ $source.configMap }}
  {{- end }}
    {{- with $source.items }}
    items: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if $source.optional }}
    optional: true
    {{- end }}
{{- end }}
{{- end -}}

{{- define "sealgate.fileMounts" -}}
{{- range $name, $source := . }}
- { name: {{ $name }}, mountPath: /etc/sealgate/{{ $name }}, readOnly: true }
{{- end }}
{{- end -}}

{{- define "sealgate.volumes" -}}
- name: config
  configMap: { name: {{ include "sealgate.fullname" . }} }
{{- include "sealgate.fileVolumes" .Values.files }}
{{- if .Values.serviceAccount.token.enabled }}
- name: token
  projected:
    defaultMode: 288
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ .Values.serviceAccount.token.audience | quote }}
          expirationSeconds: {{ int .Values.serviceAccount.token.expirationSeconds }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sealgate.mounts" -}}
- { name: config, mountPath: /etc/sealgate/config, readOnly: true }
{{- include "sealgate.fileMounts" .Values.files }}
{{- if .Values.serviceAccount.token.enabled }}
- { name: token, mountPath: /etc/sealgate/token, readOnly: true }
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Of the listener: only what serves has the private key. */}}
{{- define "sealgate.tlsVolumes" -}}
{{- with include "sealgate.tlsSecret" . }}
- name: tls
  secret: { secretName: {{ . }}, defaultMode: 288 }
{{- end }}
{{- if .Values.tls.clientCa }}
{{- include "sealgate.fileVolumes" (dict "client-ca" (omit .Values.tls.clientCa "key")) }}
{{- end }}
{{- end -}}

{{- define "sealgate.tlsMounts" -}}
{{- if include "sealgate.tlsSecret" . }}
- { name: tls, mountPath: /etc/sealgate/tls, readOnly: true }
{{- end }}
{{- if .Values.tls.clientCa }}
- { name: client-ca, mountPath: /etc/sealgate/client-ca, readOnly: true }
{{- end }}
{{- end -}}

{{- define "sealgate.environment" -}}
{{- range .Values.env }}
{{- if and (hasKey . "value") (regexMatch "SECRET|PASSWORD|PASSPHRASE|HEADERS|(^|_)(TOKEN|PIN|KEY)$" (upper .name)) }}
{{- fail (printf "env: %s looks like a secret: give it valueFrom.secretKeyRef in place of value" .name) }}
{{- end }}
{{- end }}
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The container that serves, of a pod of its own or of another's: a list of one. Takes root, and fields that come before its volumes. */}}
{{- define "sealgate.gatewayContainer" -}}
{{- $config := include "sealgate.config" . | fromJson -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
- name: sealgate
  image: {{ include "sealgate.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if $sidecar }}
  # It is up before the application starts, and ends after it.
  restartPolicy: Always
  {{- end }}
  args: ["serve", "--config", "{{ include "sealgate.configPath" . }}"]
  {{- include "sealgate.environment" . | nindent 2 }}
  ports:
    {{- if not $sidecar }}
    - { name: s3, containerPort: {{ $config.listen.port }} }
    {{- end }}
    - { name: admin, containerPort: {{ $config.admin.port }} }
  # The reason why a start was refused is on standard error: kubectl describe shows it.
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext:
    {{- if $sidecar }}
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    {{- end }}
    {{- include "sealgate.containerSecurityContext" . | nindent 4 }}
  resources: {{- ternary (toYaml .Values.sidecar.resources) (include "sealgate.resources" .) $sidecar | nindent 4 }}
  startupProbe:
    {{- if $sidecar }}
    # The application starts when requests can be served.
    httpGet: { path: /readyz, port: admin }
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: 60
    {{- else }}
    httpGet: { path: /livez, port: admin }
    periodSeconds: 2
    failureThreshold: 60
    {{- end }}
  livenessProbe:
    httpGet: { path: /livez, port: admin }
    periodSeconds: 10
    timeoutSeconds: 5
  {{- if not $sidecar }}
  readinessProbe:
    httpGet: { path: /readyz, port: admin }
    periodSeconds: 5
    timeoutSeconds: 5
  {{- if .Values.preStopSeconds }}
  lifecycle:
    # The service stops sending connections some seconds after the pod is told to end; until then the port must be open.
    preStop: { sleep: { seconds: {{ int .Values.preStopSeconds }} } }
  {{- end }}
  {{- end }}
  volumeMounts: {{- include "sealgate.mounts" . | nindent 4 }}
    {{- include "sealgate.tlsMounts" . | nindent 4 }}
{{- end -}}

{{- define "sealgate.podAnnotations" -}}
# Another configuration is another pod.
checksum/config: {{ include "sealgate.configFile" . | sha256sum }}
{{- if and .Values.monitoring.scrapeAnnotations (not .Values.monitoring.serviceMonitor.enabled) }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ (include "sealgate.config" . | fromJson).admin.port | quote }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where a pod runs. */}}
{{- define "sealgate.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
