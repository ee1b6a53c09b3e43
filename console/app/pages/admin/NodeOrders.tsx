import { Alert, Button, Group, Text } from '@mantine/core';
import { useDrainNode, useRemoveNode } from '../../api/deployment';
import { may } from '../../api/permissions';
import { useMe } from '../../api/queries';
import type { Node, NodeRemoval } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { useConfirm } from '../../ui/useConfirm';
import { counted, isEmpty, whatIsLeft, whatRemovalDoes } from './drain';

/** Drain, then remove: what an administrator can ask of a node, and how far a drain is. */
export function NodeOrders({ node, onGone }: { node: Node; onGone: () => void }) {
  const me = useMe().data ?? null;
  const drain = useDrainNode();
  const { ask, dialog } = useConfirm();
  // A Web App node takes no orders: as long as it answers, it serves.
  if (node.role === 'web') {
    if (!may(me, 'nodes:delete')) return null;
    if (node.state === 'unreachable') return <Remove node={node} onGone={onGone} />;
    return (
      <Text size="sm" c="dimmed">
        To take a Web App node away, stop it on its machine. When it is unreachable, it can be removed here.
      </Text>
    );
  }
  const draining = node.state === 'draining';
  return (
    <>
      {draining && (
        <Alert color={isEmpty(node) ? 'teal' : 'yellow'} variant="light" title={isEmpty(node) ? 'Drained' : 'Draining'}>
          {isEmpty(node)
            ? 'Nothing is on it any more: it can be stopped, upgraded or removed.'
            : `It takes nothing new. Still on it: ${whatIsLeft(node)}.`}
        </Alert>
      )}
      {drain.isError && <ProblemNote error={drain.error} />}
      <Group>
        {may(me, 'nodes:modify') && draining && (
          <Button variant="default" loading={drain.isPending} onClick={() => drain.mutate({ id: node.id, drain: false })}>
            Undrain
          </Button>
        )}
        {may(me, 'nodes:modify') && !draining && (
          <Button
            variant="default"
            loading={drain.isPending}
            onClick={() =>
              ask({
                title: `Drain ${node.name}?`,
                text: 'Nothing new comes to it; what runs on it goes on. The viewers of a proxy move to another one. Undrain takes it back.',
                action: 'Drain',
                onConfirm: () => drain.mutate({ id: node.id, drain: true }),
              })
            }
          >
            Drain
          </Button>
        )}
        {may(me, 'nodes:delete') && <Remove node={node} onGone={onGone} />}
      </Group>
      {dialog}
    </>
  );
}

/** Drain, then delete: asked again until nothing is on it any more. One that does not answer goes at once. */
function Remove({ node, onGone }: { node: Node; onGone: () => void }) {
  const remove = useRemoveNode();
  const { ask, dialog } = useConfirm();
  const left = remove.data ?? null;
  const send = () => remove.mutate(node.id, { onSuccess: (removal) => (removal === null ? onGone() : undefined) });
  const { text, action } = whatRemovalDoes(node);
  return (
    <>
      <Button
        variant="light"
        color="red"
        loading={remove.isPending}
        onClick={() => (left ? send() : ask({ title: `Remove ${node.name}?`, text, action, onConfirm: send }))}
      >
        {left ? 'Look again, and remove it when it is empty' : 'Remove'}
      </Button>
      {left && <StillOnIt removal={left} />}
      {remove.isError && <ProblemNote error={remove.error} />}
      {dialog}
    </>
  );
}

function StillOnIt({ removal: { sessions, streams } }: { removal: NodeRemoval }) {
  const left = [
    ...(sessions > 0 ? [counted(sessions, 'session', 'sessions')] : []),
    ...(streams > 0 ? [counted(streams, 'stream', 'streams')] : []),
  ];
  return (
    <Alert role="status" color="yellow" variant="light" title="It drains" w="100%">
      Still there when it was asked: {left.join(' and ')}.
    </Alert>
  );
}
