// The changes that test/campaigns/mutation.ts tries: each is a slip that a programmer could make in one expression or statement.
import { childrenOf, isNode, parseTypeScript, type SyntaxNode } from './syntax.ts'

export interface Mutant {
  readonly start: number
  readonly end: number
  /** What stands there in the mutant. */
  readonly text: string
  /** From 1. */
  readonly line: number
  /** From 1. */
  readonly column: number
  /** Before and after, on one line. */
  readonly change: string
}

const binarySwaps: Readonly<Record<string, readonly string[]>> = {
  '===': ['!=='],
  '!==': ['==='],
  '<': ['<=', '>='],
  '<=': ['<', '>'],
  '>': ['>=', '<='],
  '>=': ['>', '<'],
  '+': ['-'],
  '-': ['+'],
  '*': ['/'],
  '/': ['*'],
  '%': ['*'],
  '&': ['|'],
  '|': ['&'],
  '^': ['&'],
  '<<': ['>>'],
  '>>': ['<<'],
  '>>>': ['<<'],
  '&&': ['||'],
  '||': ['&&'],
  '+=': ['-='],
  '-=': ['+='],
  '++': ['--'],
  '--': ['++']
}
const methodSwaps = new Map([
  ['some', 'every'],
  ['every', 'some'],
  ['startsWith', 'endsWith'],
  ['endsWith', 'startsWith'],
  ['min', 'max'],
  ['max', 'min'],
  ['floor', 'ceil'],
  ['ceil', 'floor']
])
/** Calls that return a value of the kind they were called on. */
const droppedMethods = new Set(['toLowerCase', 'toUpperCase', 'trim', 'sort', 'toSorted', 'filter', 'slice', 'subarray', 'normalize', 'reverse'])

/** Every mutant of a file, in the order of the text. Texts that are written for people (with a space in them) are left alone. */
export function mutantsOf(source: string): Mutant[] {
  const { tree, text } = parseTypeScript(source)
  const found = new Map<string, Mutant>()
  const add = (start: number, end: number, replacement: string): void => {
    const before = source.slice(start, end)
    if (before === replacement) return
    const lineStart = source.lastIndexOf('\n', start - 1) + 1
    const change = `${shown(before)} -> ${replacement === '' ? '(nothing)' : shown(replacement)}`
    const line = source.slice(0, start).split('\n').length
    found.set(`${start} ${end} ${replacement}`, { start, end, text: replacement, line, column: start - lineStart + 1, change })
  }
  const slice = (node: SyntaxNode): string => source.slice(node.start, node.end)
  const visit = (node: SyntaxNode, parent: SyntaxNode | null): void => {
    mutate(node, parent, { text, add, slice })
    for (const child of childrenOf(node)) visit(child, node)
  }
  visit(tree, null)
  return [...found.values()].sort((a, b) => a.start - b.start || a.end - b.end)
}

interface Editor {
  /** The file without types. */
  readonly text: string
  readonly add: (start: number, end: number, replacement: string) => void
  readonly slice: (node: SyntaxNode) => string
}

function mutate(node: SyntaxNode, parent: SyntaxNode | null, editor: Editor): void {
  const { text, add, slice } = editor
  const child = (member: string): SyntaxNode => node[member] as SyntaxNode
  const list = (member: string): SyntaxNode[] => (node[member] as (SyntaxNode | null)[]).filter(isNode)
  const swapOperator = (from: number, to: number): void => {
    const operator = node['operator'] as string
    const at = text.indexOf(operator, from)
    if (at < 0 || at >= to) return
    for (const other of binarySwaps[operator] ?? []) add(at, at + operator.length, other)
  }
  switch (node.type) {
    case 'BinaryExpression':
      if (node['operator'] === '+' ? !isText(node) : !(/==/.test(String(node['operator'])) && isTest(node, parent))) {
        swapOperator(child('left').end, child('right').start)
      }
      break
    case 'AssignmentExpression':
      swapOperator(child('left').end, child('right').start)
      break
    case 'LogicalExpression':
      if (node['operator'] === '??') add(node.start, node.end, slice(child('left')))
      else swapOperator(child('left').end, child('right').start)
      break
    case 'UnaryExpression':
      if ((node['operator'] === '!' && !isTest(node, parent)) || node['operator'] === '-') add(node.start, node.start + 1, '')
      break
    case 'UpdateExpression':
      swapOperator(node.start, node.end)
      break
    case 'IfStatement':
    case 'ConditionalExpression':
      for (const value of ['true', 'false']) add(child('test').start, child('test').end, value)
      break
    case 'WhileStatement':
    case 'ForStatement':
      // An endless loop would only show the time limit.
      if (isNode(node['test'])) add(child('test').start, child('test').end, 'false')
      break
    case 'ExpressionStatement':
      if (isText(child('expression'))) break
      add(node.start, node.end, ';')
      if (child('expression').type === 'AwaitExpression') add(node.start, node.start + 'await'.length, 'void')
      break
    case 'ThrowStatement':
      add(node.start, node.end, ';')
      break
    case 'ReturnStatement':
      // The last statement of a function is not left out: without any answer hardly a test passes.
      if (parent?.type !== 'BlockStatement' || (parent['body'] as SyntaxNode[]).at(-1) !== node || node['argument'] === null) add(node.start, node.end, ';')
      break
    case 'Literal':
      mutateLiteral(node, parent, add)
      break
    case 'TemplateLiteral':
      if (parent?.type !== 'TaggedTemplateExpression' && !isProse(list('quasis').map(slice).join('x'))) {
        for (const quasi of list('quasis')) add(quasi.start, quasi.end, '')
      }
      break
    case 'ArrayExpression':
      for (const dropped of list('elements')) {
        add(node.start, node.end, `[${list('elements').filter((element) => element !== dropped).map(slice).join(', ')}]`)
      }
      break
    case 'ObjectExpression':
      for (const dropped of list('properties')) {
        if (dropped.type !== 'SpreadElement') continue
        add(node.start, node.end, `{ ${list('properties').filter((property) => property !== dropped).map(slice).join(', ')} }`)
      }
      break
    case 'MemberExpression':
    case 'CallExpression':
      mutateAccess(node, editor)
      break
  }
}

function mutateLiteral(node: SyntaxNode, parent: SyntaxNode | null, add: Editor['add']): void {
  if (parent !== null && (/^(Import|Export)/.test(parent.type) || (isProperty(parent) && parent['key'] === node))) return
  const { value } = node
  const replace = (text: string): void => {
    add(node.start, node.end, text)
  }
  if (typeof value === 'number') { for (const step of [1, -1]) replace(String(value + step)) }
  if (typeof value === 'bigint') { for (const step of [1n, -1n]) replace(`${value + step}n`) }
  if (typeof value === 'boolean') replace(String(!value))
  if (typeof value === 'string' && !isProse(value)) replace(value === '' ? '\'?\'' : '\'\'')
  if (value instanceof RegExp) {
    if (value.source.startsWith('^')) add(node.start + 1, node.start + 2, '')
    if (/[^\\]\$$/.test(value.source)) add(node.start + value.source.length, node.start + value.source.length + 1, '')
  }
}

function mutateAccess(node: SyntaxNode, { text, add, slice }: Editor): void {
  const callee = node['callee']
  const target = (node['object'] ?? callee) as SyntaxNode
  if (node['optional'] === true) {
    const at = text.indexOf('?.', target.end)
    // What follows is a bracket, or a name that needs the point.
    add(at, at + 2, /[[(]/.test(text[at + 2] ?? '') ? '' : '.')
  }
  if (node.type !== 'CallExpression' || !isNode(callee) || callee.type !== 'MemberExpression' || callee['computed'] === true) return
  const property = callee['property'] as SyntaxNode
  const name = slice(property)
  const swap = methodSwaps.get(name)
  if (swap !== undefined) add(property.start, property.end, swap)
  if (droppedMethods.has(name)) add(node.start, node.end, slice(callee['object'] as SyntaxNode))
}

/** The test of a condition, whose both outcomes are mutants already. */
function isTest(node: SyntaxNode, parent: SyntaxNode | null): boolean {
  return (parent?.type === 'IfStatement' || parent?.type === 'ConditionalExpression') && parent['test'] === node
}

function isProperty(node: SyntaxNode): boolean {
  return node.type === 'Property' || node.type === 'PropertyDefinition' || node.type === 'MethodDefinition'
}

function isText(node: SyntaxNode): boolean {
  if (node.type === 'BinaryExpression') return isText(node['left'] as SyntaxNode) || isText(node['right'] as SyntaxNode)
  return node.type === 'TemplateLiteral' || (node.type === 'Literal' && typeof node['value'] === 'string')
}

function isProse(text: string): boolean {
  return /[A-Za-z0-9,;:.'}] [A-Za-z0-9"'({$]/.test(text)
}

function shown(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length <= 70 ? line : `${line.slice(0, 50)} ... ${line.slice(-15)}`
}
