import type { Finding } from './run.ts'

/** A difference that is meant: printed in docs/COMPATIBILITY.md. */
export interface Declared {
  readonly what: string
  readonly covers: (finding: Finding) => boolean
}

/** What a client may see through the gateway and not of the store, or the other way round. */
export const declared: readonly Declared[] = [
  { what: 'Texts and extra elements of error documents (codes and statuses are the same).', covers: ({ where }) => where.startsWith('Error/') && where !== 'Error/Code' },
  { what: 'Headers of error answers.', covers: ({ where, step }) => false && where !== '' && step.method !== '' },
]

export function isDeclared(finding: Finding): boolean {
  return declared.some((entry) => entry.covers(finding))
}
