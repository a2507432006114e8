{{- define "hythe.name" -}}
{{- if contains "hythe" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-hythe" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "hythe.selector" -}}
app.kubernetes.io/name: hythe
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "hythe.labels" -}}
{{ include "hythe.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "hythe.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Combinations of values that cannot work. */}}
{{- define "hythe.check" -}}
{{- if .Values.persistence.enabled }}
{{- if or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled }}
{{- fail "with persistence there is one server: set replicas=1, or use PostgreSQL and an object store" }}
{{- end }}
{{- else if not (and .Values.existingSecret .Values.settings.blob_store) }}
{{- fail "set persistence.enabled=true and replicas=1, or settings.blob_store, and existingSecret with HYTHE_DATABASE_URL and HYTHE_SECRET_KEY" }}
{{- end }}
{{- end }}

{{- define "hythe.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "hythe.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "hythe.environment" -}}
env:
  - {name: HYTHE_LISTEN, value: "0.0.0.0:5000"}
  - {name: HYTHE_PUBLIC_URL, value: {{ .Values.publicUrl | quote }}}
  - {name: HYTHE_LOG_FORMAT, value: json}
  - {name: HYTHE_DRAIN_DELAY, value: "{{ .Values.drainDelay }}s"}
  - {name: HYTHE_STOP_TIMEOUT, value: "{{ .Values.stopTimeout }}s"}
  {{- with .Values.trustedProxies }}
  - {name: HYTHE_TRUSTED_PROXIES, value: {{ . | quote }}}
  {{- end }}
  {{- if .Values.metrics.enabled }}
  - {name: HYTHE_METRICS_LISTEN, value: "0.0.0.0:{{ .Values.metrics.port }}"}
  {{- end }}
  {{- range $name, $value := .Values.settings }}
  - {name: HYTHE_{{ upper $name }}, value: {{ $value | toString | quote }}}
  {{- end }}
{{- with .Values.existingSecret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{- define "hythe.pod" -}}
metadata:
  labels:
    {{- include "hythe.labels" . | nindent 4 }}
    app.kubernetes.io/component: server
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .Values.drainDelay .Values.stopTimeout 15 }}
  securityContext: {{- include "hythe.podSecurityContext" . | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: hythe
      image: {{ include "hythe.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      {{- include "hythe.environment" . | nindent 6 }}
      ports:
        - {name: http, containerPort: 5000}
        {{- if .Values.metrics.enabled }}
        - {name: metrics, containerPort: {{ .Values.metrics.port }}}
        {{- end }}
      # The first start with SQLite upgrades the schema.
      startupProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 2, failureThreshold: 300}
      livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 10, failureThreshold: 6}
      readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 5, timeoutSeconds: 6}
      securityContext: {{- include "hythe.securityContext" . | nindent 8 }}
      resources: {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - {name: tmp, emptyDir: {}}
    {{- if not .Values.persistence.enabled }}
    - {name: data, emptyDir: {}}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- with .Values.topologySpreadConstraints }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "hythe.serverSelector" . | nindent 10 }}
    {{- end }}
{{- end }}

{{- define "hythe.serverSelector" -}}
{{ include "hythe.selector" . }}
app.kubernetes.io/component: server
{{- end }}
