{{- define "sallyport.name" -}}
{{- printf "%s" (ternary .Release.Name (printf "%s-sallyport" .Release.Name) (contains "sallyport" .Release.Name)) | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "sallyport.selector" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sallyport.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "sallyport.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "sallyport.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "sallyport.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "sallyport.name" .) "default" .Values.serviceAccount.create) }}
{{- end -}}

{{/* Secret with secret-key and admin-token. */}}
{{- define "sallyport.secret" -}}
{{ .Values.secrets.existingSecret | default (include "sallyport.name" .) }}
{{- end -}}

{{/* Secret with the database URL. */}}
{{- define "sallyport.databaseSecret" -}}
{{ .Values.database.existingSecret | default (printf "%s-database" (include "sallyport.name" .)) }}
{{- end -}}

{{/* The private directory of the pod's sockets, below an emptyDir that root owns. */}}
{{- define "sallyport.runtimeDir" -}}/run/sallyport/sockets{{- end -}}

{{- define "sallyport.containerSecurity" -}}
runAsNonRoot: true
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: { drop: [ALL] }
{{- end -}}

{{/* What both Node roles need to know. */}}
{{- define "sallyport.environment" -}}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "sallyport.databaseSecret" . }}
      key: {{ ternary .Values.database.existingSecretKey "database-url" (ne .Values.database.existingSecret "") }}
- name: SALLYPORT_SECRET_KEY
  valueFrom:
    secretKeyRef: { name: {{ include "sallyport.secret" . }}, key: secret-key }
- name: LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
{{- end -}}
