// Loads src with a counter in every block and arm of a condition: what the guided fuzzer steers by. To be imported before anything of src.
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { childrenOf, isNode, parseTypeScript, type SyntaxNode } from './syntax.ts'

const root = join(import.meta.dirname, '..', '..', 'src')

/** What has been reached, by the number of the place; `news` counts the places reached for the first time. */
export const coverage = { reached: new Uint8Array(65_536), places: 0, news: 0 }

/** Adds `__reached(n)` at the beginning of every block and case, and around the arms of `?:`, `&&`, `||` and `??`. */
function instrument(source: string): string {
  const inserts: { readonly at: number; readonly text: string }[] = []
  const mark = (): string => `__c[${coverage.places}]||__n(${coverage.places++})`
  const statement = (at: number): void => {
    inserts.push({ at, text: `${mark()};` })
  }
  const expression = (node: SyntaxNode): void => {
    inserts.push({ at: node.start, text: `(${mark()},` }, { at: node.end, text: ')' })
  }
  const visit = (node: SyntaxNode): void => {
    // From the inside out: of what ends at one place the inner comes first, of what begins there the outer, which is noted later.
    for (const child of childrenOf(node)) visit(child)
    if (node.type === 'BlockStatement') statement(node.start + 1)
    if (node.type === 'SwitchCase') {
      const [first] = node['consequent'] as SyntaxNode[]
      if (first !== undefined) statement(first.start)
    }
    if (node.type === 'IfStatement') {
      for (const arm of [node['consequent'], node['alternate']]) {
        if (isNode(arm) && arm.type !== 'BlockStatement' && arm.type !== 'IfStatement') {
          inserts.push({ at: arm.start, text: `{${mark()};` }, { at: arm.end, text: '}' })
        }
      }
    }
    if (node.type === 'ConditionalExpression') { for (const arm of ['consequent', 'alternate']) expression(node[arm] as SyntaxNode) }
    if (node.type === 'LogicalExpression') expression(node['right'] as SyntaxNode)
  }
  const { tree, text } = parseTypeScript(source)
  visit(tree)
  return spliced(text, inserts)
}

function spliced(source: string, inserts: readonly { readonly at: number; readonly text: string }[]): string {
  const opening = ({ text }: { readonly text: string }): boolean => text !== ')' && text !== '}'
  const order = inserts.map((insert, i) => ({ ...insert, i }))
    .sort((a, b) => a.at - b.at || Number(opening(a)) - Number(opening(b)) || (opening(a) ? b.i - a.i : a.i - b.i))
  let out = ''
  let at = 0
  for (const insert of order) {
    out += source.slice(at, insert.at) + insert.text
    at = insert.at
  }
  return out + source.slice(at)
}

const reachedNew = (place: number): void => {
  coverage.reached[place] = 1
  coverage.news += 1
}
Object.assign(globalThis, { __c: coverage.reached, __n: reachedNew })

registerHooks({
  load(url, hookContext, nextLoad) {
    if (!url.startsWith('file:') || !fileURLToPath(url).startsWith(root)) return nextLoad(url, hookContext)
    return { format: 'module', shortCircuit: true, source: instrument(readFileSync(fileURLToPath(url), 'utf8')) }
  }
})
