import type { Scenario } from './run.ts'
import type { Step } from './side.ts'
import { ask, copy, get, head, list, put, remove, set } from './scenarios/steps.ts'

type Headers = readonly (readonly [string, string])[]

/** A small generator with a seed (mulberry32): a run can be had again. */
class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** At least 0, below `sides`. */
  roll(sides: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 4294967296 * sides)
  }

  pick<T>(from: readonly T[]): T {
    const found = from[this.roll(from.length)]
    if (found === undefined) throw new RangeError('nothing to pick from')
    return found
  }

  chance(percent: number): boolean {
    return this.roll(100) < percent
  }

  some<T>(from: readonly T[], percent: number): T[] {
    return from.filter(() => this.chance(percent))
  }
}

const alphabet = [
  'a',
  'b',
  'Z',
  '0',
  '-',
  '_',
  '.',
  '~',
  '/',
  ' ',
  '+',
  '%',
  '&',
  '=',
  '?',
  '#',
  '"',
  '<',
  '>',
  '\'',
  '*',
  '(',
  ';',
  ':',
  '@',
  ',',
  '$',
  '!',
  '\\',
  '|',
  '^',
  '[',
  '{',
  '\t',
  '\u0001',
  'ü',
  'ß',
  '日',
  '😀',
  '\u0301'
]
const sizes = [0, 1, 5, 100, 65479, 65480, 65481, 131000]
const describing: Headers = [
  ['cache-control', 'max-age=60'],
  ['content-disposition', 'attachment; filename="x"'],
  ['content-encoding', 'gzip'],
  ['content-language', 'de-AT'],
  ['expires', 'Tue, 07 Jun 2033 19:00:00 GMT'],
  ['content-type', 'text/x; charset=utf-8'],
  ['x-amz-meta-colour', 'blue'],
  ['x-amz-meta-empty', ''],
  ['x-amz-meta-under_score', 'kept'],
  ['x-amz-meta-latin', 'caf\xe9'],
  ['x-amz-meta-spaced', 'a  b'],
  ['x-amz-tagging', 'k=v&l=w%20x'],
  ['x-amz-acl', 'public-read'],
  ['x-amz-storage-class', 'STANDARD'],
  ['x-amz-website-redirect-location', '/there']
]
const ranges = ['bytes=0-0', 'bytes=0-', 'bytes=-1', 'bytes=-65480', 'bytes=2-4', 'bytes=65470-65490', 'bytes=65480-', 'bytes=200000-']
const listParameters: readonly (readonly [string, readonly string[]])[] = [
  ['prefix', ['', 'a', '/', 'b/', 'nothing', 'ü']],
  ['delimiter', ['/', 'a', ' ', 'b']],
  ['max-keys', ['0', '1', '2', '5', '1000', '-1', 'x']],
  ['encoding-type', ['url']]
]

/** A scenario of random requests on few keys, so that they meet: valid ones mostly. */
export function randomScenario(seed: number, length: number): Scenario {
  const dice = new Dice(seed)
  const keys = Array.from({ length: 6 }, () => keyOf(dice))
  const steps: Step[] = []
  if (dice.chance(50)) steps.push(set('versioning', '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>'))
  while (steps.length < length) steps.push(...stepOf(dice, keys))
  return { name: `random ${seed}`, buckets: ['a'], steps }
}

function keyOf(dice: Dice): string {
  const length = dice.pick([1, 2, 5, 12, 40])
  const key = Array.from({ length }, () => dice.pick(alphabet)).join('')
  // A name that is a dot segment only is no key to some HTTP clients; the listed scenarios have those.
  return /^[./]+$/.test(key) ? `k${key}` : key
}

function stepOf(dice: Dice, keys: readonly string[]): Step[] {
  const key = dice.pick(keys)
  const rest: Partial<Step> = {
    ...dice.chance(15) ? { sign: dice.pick(['query', 'v2-query', 'v2-header'] as const) } : {},
    ...dice.chance(5) ? { as: 'anonymous' as const } : {}
  }
  switch (dice.roll(12)) {
    case 0:
    case 1:
    case 2: {
      // radosgw checks Signature Version 2 against its own spelling of this name.
      const headers = dice.some(describing, 15).filter(([name]) =>
        rest.sign !== 'v2-header' && rest.sign !== 'v2-query' ? true : name !== 'x-amz-meta-under_score'
      )
      return [put(key, 'x'.repeat(dice.pick(sizes)), { ...rest, headers })]
    }
    case 3:
      return [get(key, { ...rest, headers: readHeaders(dice) })]
    case 4:
      return [head(key, { ...rest, headers: readHeaders(dice) })]
    case 5:
      return [remove(key, rest)]
    case 6:
      return [copyOf(dice, key, dice.pick(keys)), get(key), head(key)]
    case 7:
      return [list(listQuery(dice), rest)]
    case 8:
      return [
        set(
          'tagging',
          `<Tagging><TagSet>${
            dice.some(['a', 'b', 'ü + ß'], 60).map((name) => `<Tag><Key>${name}</Key><Value>${name} 1</Value></Tag>`).join('')
          }</TagSet></Tagging>`,
          { key }
        )
      ]
    case 9:
      return [ask(dice.pick(['tagging', 'acl']), { key, ...rest })]
    case 10:
      return [ask(dice.pick(['location', 'versioning', 'acl', 'policy', 'cors', 'tagging', 'uploads', 'requestPayment', 'lifecycle']), rest)]
    default:
      return [{
        method: 'POST',
        bucket: 'a',
        query: [['delete', null]],
        body: `<Delete>${dice.chance(30) ? '<Quiet>true</Quiet>' : ''}${
          dice.some(keys.filter(isXmlText), 30).concat('never').map((name) => `<Object><Key>${escape(name)}</Key></Object>`).join('')
        }</Delete>`
      }]
  }
}

function copyOf(dice: Dice, key: string, source: string): Step {
  const replaced: Headers = dice.chance(40)
    ? [['x-amz-metadata-directive', 'REPLACE'], ...dice.some(describing.filter(([name]) => !/^x-amz-(tagging|acl|storage|website)/.test(name)), 20)]
    : []
  return copy(`{bucket:a}/${encodeURIComponent(source)}`, key, replaced)
}

function readHeaders(dice: Dice): Headers {
  if (dice.chance(60)) return []
  if (dice.chance(60)) return [['range', dice.pick(ranges)]]
  return [[dice.pick(['if-modified-since', 'if-unmodified-since']), 'Sat, 29 Oct 1994 19:43:31 GMT']]
}

function listQuery(dice: Dice): readonly (readonly [string, string | null])[] {
  const kind: readonly (readonly [string, string | null])[] = dice.pick([[], [['list-type', '2']], [['versions', null]]])
  const chosen = listParameters.flatMap(([name, values]): [string, string][] => dice.chance(35) ? [[name, dice.pick(values)]] : [])
  return [...kind, ...chosen]
}

/** Control characters cannot stand in a document of XML 1.0. */
function isXmlText(text: string): boolean {
  return !/[\u0000-\u001f]/.test(text)
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
