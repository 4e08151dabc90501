import { S3Error } from '../errors.ts'
import { parseIsoExtended } from './date.ts'

/** Bounds of the file in bytes (plaintext), from `content-length-range`. */
export interface LengthRange {
  readonly min: number
  readonly max: number
}

type Condition =
  | { readonly operator: 'eq' | 'starts-with'; readonly field: string; readonly value: string }
  | { readonly operator: 'content-length-range'; readonly range: LengthRange }

/** A policy document (AWS, "POST policy"), parsed. */
interface PostPolicy {
  readonly expiration: Date
  readonly conditions: readonly Condition[]
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidPolicyDocument', { message: `Invalid Policy: ${message}` })
}

function denied(reason: string): S3Error {
  return new S3Error('AccessDenied', { message: `Invalid according to Policy: ${reason}` })
}

/**
 * @param base64 the `policy` field as sent.
 * @throws S3Error InvalidPolicyDocument on anything that is not the JSON document AWS describes, member names in exact case.
 */
export function parsePostPolicy(base64: string): PostPolicy {
  const document = parseJson(base64)
  const { expiration, conditions } = document
  if (typeof expiration !== 'string') throw invalid('Policy is missing its expiration.')
  const date = parseIsoExtended(expiration)
  if (date === undefined) throw invalid(`Invalid 'expiration' value: '${expiration.slice(0, 64)}'`)
  if (!Array.isArray(conditions)) throw invalid('Policy is missing its list of conditions.')
  return { expiration: date, conditions: conditions.flatMap(parseCondition) }
}

function parseJson(base64: string): Readonly<Record<string, unknown>> {
  const text = base64.replace(/[\r\n]/g, '')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw invalid('Could not decode Base64.')
  let document: unknown
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'base64')))
  } catch (cause) {
    throw new S3Error('InvalidPolicyDocument', { message: 'Invalid Policy: Invalid JSON.', cause })
  }
  if (!isRecord(document)) throw invalid('Invalid JSON: a policy is an object.')
  return document
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseCondition(condition: unknown): readonly Condition[] {
  if (isRecord(condition)) {
    const entries = Object.entries(condition)
    const [first, ...more] = entries
    if (first === undefined || more.length > 0) throw invalid('Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.')
    return [{ operator: 'eq', field: first[0].toLowerCase(), value: text(first[1]) }]
  }
  if (!Array.isArray(condition) || condition.length !== 3) throw invalid('Invalid Condition: a condition is an object or a list of three.')
  const [name, field, value] = condition as readonly unknown[]
  const operator = text(name).toLowerCase()
  if (operator === 'content-length-range') return [{ operator, range: { min: size(field), max: size(value) } }]
  if (operator !== 'eq' && operator !== 'starts-with') throw invalid(`Unknown Condition operation '${operator.slice(0, 64)}'.`)
  const variable = text(field)
  if (!variable.startsWith('$')) throw invalid('The second element of a condition must be a field name that starts with "$".')
  return [{ operator, field: variable.slice(1).toLowerCase(), value: text(value) }]
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw invalid('Condition values must be strings.')
  return value
}

/** Bytes, written as a number or as decimal digits. */
function size(value: unknown): number {
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) throw invalid('content-length-range takes two whole numbers.')
  return number
}

/** Fields that need no condition, like all whose names begin with `x-ignore-`. */
const uncovered = new Set(['awsaccesskeyid', 'file', 'policy', 'signature', 'x-amz-signature'])

/**
 * Checks a form against its policy: not expired, every condition met, every field covered by a condition; the bucket counts as
 * a field, so that a policy is valid only for buckets it names.
 * @param fields lower-case names; `bucket` is the bucket of the URL, not that of the form; `${filename}` in `key`
 * already replaced, because AWS expands variables before it validates.
 * @returns the intersection of all `content-length-range` conditions, or null when there is none.
 * @throws S3Error AccessDenied
 */
export function checkPostPolicy(policy: PostPolicy, fields: ReadonlyMap<string, string>, now: Date): LengthRange | null {
  if (now.getTime() >= policy.expiration.getTime()) throw denied('Policy expired.')
  let range: LengthRange | null = null
  const covered = new Set<string>()
  const types = commonPrefix((fields.get('content-type') ?? '').split(',').map((type) => type.trim()))
  for (const condition of policy.conditions) {
    if (condition.operator === 'content-length-range') {
      const { min, max } = condition.range
      range = range === null ? condition.range : { min: Math.max(range.min, min), max: Math.min(range.max, max) }
      continue
    }
    covered.add(condition.field)
    if (!meets(condition, fields.get(condition.field), types)) {
      throw denied(`Policy Condition failed: ["${condition.operator}", "$${condition.field}", "${condition.value}"]`)
    }
  }
  const extra = [...fields.keys()].filter((name) => !covered.has(name) && !uncovered.has(name) && !name.startsWith('x-ignore-'))
  if (extra.length > 0) throw denied(`Extra input fields: ${extra.join(', ')}`)
  return range
}

/**
 * @param types the common beginning of all members of the Content-Type. AWS: it may be a list, and every member has to match.
 * Computed once for all conditions, so that the cost is not the number of conditions times the number of members.
 */
function meets(
  condition: { readonly operator: 'eq' | 'starts-with'; readonly field: string; readonly value: string },
  actual: string | undefined,
  types: string
): boolean {
  // An empty prefix allows any value, and the field to be absent.
  if (actual === undefined) return condition.operator === 'starts-with' && condition.value === ''
  if (condition.operator === 'eq') return actual === condition.value
  return (condition.field === 'content-type' ? types : actual).startsWith(condition.value)
}

function commonPrefix([first = '', ...others]: readonly string[]): string {
  let length = first.length
  for (const other of others) {
    let same = 0
    while (same < length && other[same] === first[same]) same += 1
    length = same
  }
  return first.slice(0, length)
}

/** @throws S3Error EntityTooSmall or EntityTooLarge when the file of `bytes` bytes is outside the range. */
export function checkPostLength(range: LengthRange | null, bytes: number): void {
  if (range === null) return
  if (bytes < range.min) {
    throw new S3Error('EntityTooSmall', { fields: { ProposedSize: String(bytes), MinSizeAllowed: String(range.min) } })
  }
  if (bytes > range.max) {
    throw new S3Error('EntityTooLarge', { fields: { ProposedSize: String(bytes), MaxSizeAllowed: String(range.max) } })
  }
}
