// Every regular expression of src against texts made of its own characters, repeated: one that goes back over what it has read costs more
// than the length of its input, wherever it is used.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { byTurns } from './support/by-turns.ts'
import { judgeGrowth } from './support/growth.ts'
import { childrenOf, parseTypeScript, type SyntaxNode } from './support/syntax.ts'

const root = join(import.meta.dirname, '..', 'src')
/** Characters of a run. A square cost of this many is a thousand times the linear one. */
const length = 2048
/** Sample characters for character classes. */
const common = [' ', '\t', '\r\n', 'a', 'A', '0', '"', '\'', ',', ';', '/', '=', '%', '-', '<', '&', '\u00e4']

interface Found {
  readonly file: string
  readonly regex: RegExp
}

/** Whether a line that is no comment and no import has a slash: parsing costs more than all else. */
function mayHaveExpressions(source: string): boolean {
  return source.split('\n').some((line) => line.includes('/') && !/^\s*(\/[/*]|\*|import |\} from )/.test(line))
}

function expressionsOf(file: string): Found[] {
  const found: Found[] = []
  const source = readFileSync(join(root, file), 'utf8')
  if (!mayHaveExpressions(source)) return found
  const visit = (node: SyntaxNode): void => {
    const { value } = node
    if (value instanceof RegExp) found.push({ file, regex: new RegExp(value.source, `${value.flags.replaceAll(/[gy]/g, '')}g`) })
    for (const child of childrenOf(node)) visit(child)
  }
  visit(parseTypeScript(source).tree)
  return found
}

/**
 * Pieces of the expression itself: escapes taken as their characters, classes by their members, and the words between. With them a third of the common
 * characters, another third for the next expression.
 */
function unitsOf({ regex }: Found, turn: number): string[] {
  const words = regex.source.match(/[A-Za-z0-9-]{2,}|\\.|[^\\]/g) ?? []
  return [...new Set([...words.map((word) => word.replace(/^\\(?=[^a-zA-Z0-9])/, '')), ...common.filter((_, i) => byTurns((i + turn) % 3 === 0))])]
}

const expressions = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts')).flatMap(expressionsOf)

await t.test('no regular expression costs more than linear', async (t) => {
  const faults: string[] = []
  let texts = 0
  for (const [turn, found] of expressions.entries()) {
    const units = unitsOf(found, turn)
    for (const unit of units) {
      const make = (bytes: number): string => {
        const run = unit.repeat(Math.ceil(bytes / unit.length))
        // Alone, behind a beginning and before an end that does not fit.
        return units.slice(0, 4).map((first) => `${first}${run}\u0001`).join('')
      }
      texts += 1
      const { fault } = await judgeGrowth(
        `${found.file}: ${String(found.regex)} with ${JSON.stringify(unit)}`,
        length,
        (bytes) => make(bytes).replace(found.regex, '')
      )
      if (fault !== null) faults.push(fault)
    }
  }
  t.same(faults, [])
  t.ok(expressions.length > 150)
  t.comment(`${expressions.length} regular expressions, ${texts.toLocaleString('en')} texts, ${faults.length} of more than linear cost`)
})

await t.test('one that goes back is seen', async (t) => {
  // Long enough to be too much by itself: the growth of one measure can drown in the noise of a busy machine.
  const { fault } = await judgeGrowth('blanks at the end', 6 * length, (bytes) => `${' '.repeat(bytes)}x`.replace(/[ \t]+$/g, ''))
  t.match(fault, /^blanks at the end/)
})
