/**
 * What failed (docs/FORMAT.md, Test vectors). For metrics and tests; a client is never told.
 * `format`: envelope or attributes do not parse · `place`: bound to another bucket · `box`: a wrap does not open ·
 * `commitment`: other object key than the stored commitment says · `length`: stored size or byte count ·
 * `header`: stored stream header · `segment`: a tag · `truncated`, `trailing`: bytes missing or surplus ·
 * `zeros`, `footer`, `manifest`: the tail · `record`: upload or part record · `metadata`: metadata digest ·
 * `key`: SSE-C check value, the customer's key is another one.
 */
export const envelopeErrorKinds = [
  'format', 'place', 'box', 'commitment', 'length', 'header', 'segment', 'truncated', 'trailing', 'zeros', 'footer', 'manifest', 'record', 'metadata', 'key'
] as const
export type EnvelopeErrorKind = (typeof envelopeErrorKinds)[number]

/** Sealed data that must not be used. The message is the same for every kind, so that it may go anywhere. */
export class EnvelopeError extends Error {
  readonly kind: EnvelopeErrorKind

  constructor(kind: EnvelopeErrorKind) {
    super('The sealed data did not verify.')
    this.name = 'EnvelopeError'
    this.kind = kind
  }
}
