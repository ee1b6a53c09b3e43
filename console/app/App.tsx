/** The routes, and who may see them. Every page is a chunk of its own; the viewer's, with noVNC, is the large one. */

import { Center, Loader } from '@mantine/core';
import { type ReactNode, Suspense, lazy, useEffect } from 'react';
import { Navigate, Outlet, Route, Routes, useLocation } from 'react-router';
import { onSignOutElsewhere, useMe } from './api/queries';
import type { Me } from './api/types';
import { may } from './api/permissions';
import { PasswordFirst } from './pages/ChangePassword';
import { SignIn } from './pages/SignIn';
import { Shell } from './shell/Shell';
import { ProblemNote } from './ui/ProblemNote';

const Catalogue = lazy(() => import('./pages/Catalogue'));
const MySessions = lazy(() => import('./pages/MySessions'));
const MyHomes = lazy(() => import('./pages/MyHomes'));
const SessionPage = lazy(() => import('./session/SessionPage'));
const RelaunchPage = lazy(() => import('./session/RelaunchPage'));
const WatchPage = lazy(() => import('./watch/WatchPage'));
const Zones = lazy(() => import('./pages/admin/Zones'));
const Nodes = lazy(() => import('./pages/admin/Nodes'));
const AllSessions = lazy(() => import('./pages/admin/AllSessions'));
const Workspaces = lazy(() => import('./pages/admin/Workspaces'));
const Images = lazy(() => import('./pages/admin/Images'));
const Users = lazy(() => import('./pages/admin/Users'));
const Groups = lazy(() => import('./pages/admin/Groups'));
const AuditLog = lazy(() => import('./pages/admin/AuditLog'));
const ApiKeys = lazy(() => import('./pages/ApiKeys'));
const NotFound = lazy(() => import('./pages/NotFound'));

export function App() {
  const me = useMe();
  useEffect(() => onSignOutElsewhere(() => location.replace('/sign-in')), []);
  if (me.isPending) return <Waiting />;
  if (me.isError) {
    return (
      <Center mih="100dvh" p="md">
        <ProblemNote error={me.error} onRetry={() => void me.refetch()} />
      </Center>
    );
  }
  if (me.data?.must_change_password) return <PasswordFirst me={me.data} />;
  return <Pages me={me.data} />;
}

function Pages({ me }: { me: Me | null }) {
  return (
    <Suspense fallback={<Waiting />}>
      <Routes>
        <Route path="/sign-in" element={me ? <Onward /> : <SignIn />} />
        {/* Sees by itself to who is signed in: a desktop outlives its login. */}
        <Route path="/sessions/:id" element={<SessionPage />} />
        <Route path="/sessions/:id/relaunch" element={<RelaunchPage />} />
        <Route element={<SignedIn me={me} />}>
          <Route path="/admin/sessions/:id/watches/:watch" element={may(me, 'sessions:watch') ? <WatchPage /> : <NotFound />} />
          <Route element={me && <Shell me={me} />}>
            <Route index element={<Catalogue />} />
            <Route path="/sessions" element={<MySessions />} />
            <Route path="/homes" element={<MyHomes />} />
            <Route path="/api-keys" element={<ApiKeys />} />
            <Route path="/admin/zones" element={may(me, 'zones:view') ? <Zones /> : <NotFound />} />
            <Route path="/admin/nodes" element={may(me, 'nodes:view') ? <Nodes /> : <NotFound />} />
            <Route path="/admin/sessions" element={may(me, 'sessions:view') ? <AllSessions /> : <NotFound />} />
            <Route path="/admin/workspaces" element={may(me, 'workspaces:view') ? <Workspaces /> : <NotFound />} />
            <Route path="/admin/images" element={may(me, 'images:view') ? <Images /> : <NotFound />} />
            <Route path="/admin/users" element={may(me, 'users:view') ? <Users /> : <NotFound />} />
            <Route path="/admin/groups" element={may(me, 'groups:view') ? <Groups /> : <NotFound />} />
            <Route path="/admin/audit" element={may(me, 'audit:view') ? <AuditLog /> : <NotFound />} />
            <Route path="*" element={<NotFound />} />
          </Route>
        </Route>
      </Routes>
    </Suspense>
  );
}

function SignedIn({ me }: { me: Me | null }): ReactNode {
  const { pathname } = useLocation();
  return me ? <Outlet /> : <Navigate to="/sign-in" replace state={{ from: pathname }} />;
}

/** After signing in: back to where the person was going. */
function Onward() {
  const state = useLocation().state as { from?: string } | null;
  return <Navigate to={state?.from ?? '/'} replace />;
}

function Waiting() {
  return (
    <Center mih="100dvh">
      <Loader aria-label="Loading" />
    </Center>
  );
}
