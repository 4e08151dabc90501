// The syntax tree of a TypeScript file: its types are blanked, so that every position in the tree is the position in the file.
import { stripTypeScriptTypes } from 'node:module'
import { parse } from 'acorn'

export interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [member: string]: unknown
}

export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

/** The nodes directly below a node, in the order of its members. */
export function childrenOf(node: SyntaxNode): SyntaxNode[] {
  return Object.values(node).flatMap((member): unknown[] => Array.isArray(member) ? member : [member]).filter(isNode)
}

/** The tree of a file, and its text without types, which has the same length. */
export function parseTypeScript(source: string): { readonly tree: SyntaxNode; readonly text: string } {
  const text = stripTypeScriptTypes(source)
  if (text.length !== source.length) throw new Error('The file without its types has another length: positions would be wrong.')
  return { tree: parse(text, { ecmaVersion: 'latest', sourceType: 'module' }) as unknown as SyntaxNode, text }
}
