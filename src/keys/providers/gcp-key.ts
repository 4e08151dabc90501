/** The optional dependency that knows how Google's credentials become tokens. */
export const GOOGLE_PACKAGE = 'google-auth-library'

/** STORED DATA depends on it (docs/FORMAT.md, Key providers). @param key its full name in Cloud KMS */
export function gcpKeyIdPrefix(key: string): string {
  return `gcp-kms:${key}:v`
}
