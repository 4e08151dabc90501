import process from 'node:process'

const everything = process.env['SEALGATE_TEST_FULL'] === '1'

/**
 * Whether a combination is run. `npm test` runs those that a test chooses, so that every pair of values meets; `npm run campaign full` runs all.
 * @param chosen the choice of npm test
 */
export function byTurns(chosen: boolean): boolean {
  return everything || chosen
}
