//! The model's words as OpenAPI enums. The model itself knows nothing of OpenAPI; what may be said is read from its own lists, so that a new
//! word is in the document at once.

use meridian_model::{
    LoadStrategy as ModelLoadStrategy, Network as ModelNetwork, NodeRole as ModelNodeRole,
    ProgressStep as ModelProgressStep, Seccomp as ModelSeccomp, SessionState as ModelSessionState,
    Transport as ModelTransport,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident of $model:ident),+ $(,)?) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = $model::ALL.map($model::as_str);
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

words! {
    /// Where a session stands.
    SessionState of ModelSessionState,
    /// How far a launch has come.
    ProgressStep of ModelProgressStep,
    /// What a node does.
    NodeRole of ModelNodeRole,
    /// What a workspace may reach.
    Network of ModelNetwork,
    /// Which system calls a workspace may make.
    Seccomp of ModelSeccomp,
    /// Which agent gets the next session.
    LoadStrategy of ModelLoadStrategy,
    /// How a viewer speaks on the stream.
    Transport of ModelTransport,
}
