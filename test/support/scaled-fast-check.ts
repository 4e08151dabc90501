// What test/support/more-cases.ts puts in the place of fast-check.
import process from 'node:process'
import fc from 'fast-check'

export * from 'fast-check'

const times = Number(process.env['SEALGATE_TEST_CASES'] ?? '1')
/** What fast-check takes where nothing is said. */
const USUAL = 100

export function assert<Ts>(property: fc.IRawProperty<Ts>, parameters?: fc.Parameters<Ts>): void | Promise<void> {
  return fc.assert(property, { ...parameters, numRuns: (parameters?.numRuns ?? USUAL) * times })
}

export default { ...fc, assert }
